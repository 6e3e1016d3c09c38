"""The rules of Kubernetes' Pod Security Standard "restricted" (and so "baseline"),
as https://kubernetes.io/docs/concepts/security/pod-security-standards lists them.
Windows and AppArmor details that no manifest here could use are left out."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
           "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range",
           "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
           "net.ipv4.ping_group_range"}
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def violations(spec):
    """What "restricted" rejects in a pod spec, one sentence each."""
    found = list(_pod_violations(spec))
    for kind in CONTAINER_LISTS:
        for container in spec.get(kind, []):
            name = container.get("name", "?")
            found += [f"container {name}: {text}"
                      for text in _container_violations(container, spec)]
    return found


def _pod_violations(spec):
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    security = spec.get("securityContext", {})
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']} is not safe"
    if security.get("runAsUser") == 0:
        yield "the pod's runAsUser is 0"
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is of type {', '.join(kinds)}"


def _container_violations(container, spec):
    security = container.get("securityContext", {})
    pod = spec.get("securityContext", {})
    if security.get("privileged"):
        yield "privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if security.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if security.get("runAsUser") == 0:
        yield "runAsUser is 0"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities do not drop ALL"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capabilities add {capabilities['add']}"
    profile = security.get("seccompProfile", pod.get("seccompProfile", {}))
    if profile.get("type") not in SECCOMP:
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    if security.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
