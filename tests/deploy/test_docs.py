"""deploy/README.md against the server itself."""

import json
import re
import subprocess

import yaml

import paths
from scale import CLIENT_OPTIONS, KEEPALIVE, SERVICE_CONFIG

README = (paths.DEPLOY / "README.md").read_text()
METRIC_TABLE = paths.SOURCE / "server" / "metrics" / "metric_table.cc"
RULES = paths.DEPLOY / "prometheus" / "fff-rules.yml"
GENERAL = {"--help", "--version"}


def help_options():
    """Flag -> (environment variable, default or None), from --help."""
    text = subprocess.run([str(paths.SERVER), "--help"], capture_output=True, text=True,
                          check=True).stdout
    options = {}
    for line in re.findall(r"^  (?:-\w,)?(--.*)$", text, re.M):
        flag = re.match(r"--[\w-]+", line)[0]
        variable = re.search(r"Env:(\w+)", line)
        # CLI11 2.1 writes TYPE=DEFAULT, 2.4 TYPE [DEFAULT].
        default = re.search(r"(?:=(\S+)|\[([^\s\[\]]+)\] ) *(?:\.\.\. )?\(Env", line)
        if flag not in GENERAL:
            options[flag] = (variable and variable[1],
                             default and (default[1] or default[2]))
    return options


def test_flags_table_is_that_of_help():
    rows = re.findall(r"^\| `(--[\w-]+)` \| `(\w+)` \| (\S+) \|", README, re.M)
    written = {flag: (variable, default.strip("`")) for flag, variable, default in rows}
    assert set(written) == set(help_options())
    for flag, (variable, default) in help_options().items():
        if flag == "--benchmark":
            default = {"1": "on", "0": "off", "true": "on"}.get(default, default)
        if default is None:
            default = "required" if flag == "--model-repository" else "none"
        assert written[flag] == (variable, default), flag


def test_metrics_table_is_that_of_the_server():
    exported = re.findall(r'^    \{"(\w+)", MetricType', METRIC_TABLE.read_text(), re.M)
    section = README[README.index("| metric | says |"):README.index("| alert |")]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == exported


def test_alerts_table_is_that_of_the_rules():
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"]
              for rule in group["rules"] if "alert" in rule}
    section = README[README.index("| alert |"):]
    assert set(re.findall(r"`(Fff\w+)`", section)) == alerts


def test_files_named_exist():
    for path in re.findall(r"`((?:overlays|components)/[\w-]+)`", README):
        assert (paths.DEPLOY / "kubernetes" / path).is_dir(), path
    for path in re.findall(r"(?:tests/)?deploy/[\w./-]+", README):
        assert (paths.SOURCE / path).exists(), path


def test_service_config_is_the_tested_one():
    block = re.search(r"```json\n(.*?)```", README, re.S)[1]
    assert json.loads(block) == SERVICE_CONFIG


def test_channel_arguments_are_the_tested_ones():
    rows = re.findall(r"^\| `(grpc\.\w+)` \| (\d+) \|", README, re.M)
    wanted = [*CLIENT_OPTIONS, *KEEPALIVE]
    assert {name: int(value) for name, value in rows} == {
        name: value for name, value in wanted if name.endswith("_ms")}


def test_what_happens_when_names_tests_that_are_there():
    section = README[README.index("## What happens when"):]
    table = re.search(r"^\| event \| what happens .*?\n\n", section, re.M | re.S)[0]
    told = [row.strip("| ").split(" | ")[-1] for row in table.strip().splitlines()[2:]]
    assert len(told) >= 10 and told[0] != "the same"
    for test in set(told) - {"the same"}:
        file, name = re.fullmatch(r"`(tests/[\w/]+\.(?:py|cc))::(\w+)`", test).groups()
        begin = r"^def {}\(" if file.endswith(".py") else r"^TEST(?:_F|_P)?\(\w+, {}\)"
        assert re.search(begin.format(name), (paths.SOURCE / file).read_text(), re.M), test
