"""The list of packages of the image (deploy/image/sbom), on what dpkg knows of this
machine, and the labels of the image. No image is built here."""

import json
import os
import re
import subprocess

import pytest

import paths
import tools

SBOM = paths.DEPLOY / "image" / "sbom"
STATUS = "/var/lib/dpkg/status"
EPOCH = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
ENTRY = """\
Package: libstdc++6
Status: install ok installed
Maintainer: A "B" \\C <c@example.org>
Architecture: amd64
Source: gcc-12
Version: 1:12.2.0-14+deb12u1~x
Homepage: https://gcc.gnu.org/
Description: library
 Version: 9
"""


def sbom(*arguments):
    return subprocess.run([str(SBOM), *map(str, arguments)], env=EPOCH, text=True,
                          capture_output=True, check=False)


def document(*arguments):
    ended = sbom(*arguments)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def entry(tmp_path):
    file = tmp_path / "libstdc++6"
    file.write_text(ENTRY)
    return file


@pytest.fixture(scope="module")
def machine():
    return document("0.1.0", STATUS)


def installed():
    """(name, version, architecture) of what dpkg says is installed here."""
    told = subprocess.run(
        ["dpkg-query", "--show", "--showformat",
         "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n"],
        check=True, capture_output=True, text=True).stdout
    return {tuple(line.split()[1:]) for line in told.splitlines()
            if line.startswith("installed ")}


def packages(spdx):
    """Those of Debian."""
    return [one for one in spdx["packages"] if one["name"] != "fff-serving"]


def test_it_has_what_spdx_demands(machine):
    assert machine["spdxVersion"] == "SPDX-2.3" and machine["dataLicense"] == "CC0-1.0"
    assert machine["SPDXID"] == "SPDXRef-DOCUMENT"
    assert machine["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert re.fullmatch(r"https://[^#\s]+", machine["documentNamespace"])
    identifiers = [one["SPDXID"] for one in machine["packages"]]
    assert len(identifiers) == len(set(identifiers))
    for one in machine["packages"]:
        assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one["SPDXID"])
        assert {"name", "versionInfo", "downloadLocation", "licenseDeclared"} <= set(one)
        assert one["filesAnalyzed"] is False
    for one in machine["relationships"]:
        assert {one["spdxElementId"], one["relatedSpdxElement"]} <= {
            "SPDXRef-DOCUMENT", *identifiers}


def test_spdxs_own_tools_find_nothing_wrong(tmp_path):
    """On what this machine runs and compiles with; twice as much as in an image."""
    (tmp_path / "x.spdx.json").write_text(sbom("0.1.0", STATUS, STATUS).stdout)
    ended = tools.run_python("spdx-tools", "spdx_check.py", str(tmp_path / "x.spdx.json"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""


def test_spdxs_own_tools_find_what_is_wrong(tmp_path, machine):
    wrong = {**machine, "packages": machine["packages"][:1]}
    (tmp_path / "x.spdx.json").write_text(json.dumps(wrong))
    ended = tools.run_python("spdx-tools", "spdx_check.py", str(tmp_path / "x.spdx.json"))
    assert "did not find the referenced spdx_id" in ended.stdout + ended.stderr


def test_it_names_what_is_installed_and_nothing_else(machine):
    found = {(one["name"], one["versionInfo"],
              one["SPDXID"].rsplit("-", 1)[1]) for one in packages(machine)}
    assert found == installed()
    assert len(found) > 100


def test_the_image_contains_each(machine):
    contained = {one["relatedSpdxElement"] for one in machine["relationships"]
                 if one["relationshipType"] == "CONTAINS"}
    assert contained == {one["SPDXID"] for one in packages(machine)}
    assert {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-fff-serving"} in machine["relationships"]


def test_a_folder_of_entries_is_read_as_the_image_has_them(entry):
    other = entry.with_name("zlib1g")
    other.write_text(ENTRY.replace("libstdc++6", "zlib1g").rstrip("\n"))
    names = [one["name"] for one in packages(document("0.1.0", entry.parent))]
    assert names == ["libstdc++6", "zlib1g"]


def test_names_and_versions_are_written_as_each_standard_wants(entry):
    one, = packages(document("0.1.0", entry))
    assert one["SPDXID"] == "SPDXRef-deb-libstdc-plus-plus6-amd64"
    assert one["versionInfo"] == "1:12.2.0-14+deb12u1~x"
    assert one["supplier"] == 'Organization: A "B" \\C (c@example.org)'
    assert one["sourceInfo"] == "built from Debian source gcc-12 (1:12.2.0-14+deb12u1~x)"
    locator = one["externalRefs"][0]["referenceLocator"]
    assert re.fullmatch(r"pkg:deb/debian/libstdc%2B%2B6@1%3A12\.2\.0-14%2Bdeb12u1%7Ex"
                        r"\?arch=amd64&distro=debian-\d+", locator)


def test_what_compiled_it_is_told_from_what_is_in_it(entry, tmp_path):
    header = tmp_path / "build-status"
    header.write_text(ENTRY + "\n" + ENTRY.replace("libstdc++6", "libhwy-dev"))
    spdx = document("0.1.0", entry, header)
    assert [one["name"] for one in packages(spdx)] == ["libstdc++6", "libhwy-dev"]
    kinds = {(one["spdxElementId"], one["relationshipType"])
             for one in spdx["relationships"]}
    assert ("SPDXRef-deb-libhwy-dev-amd64", "BUILD_DEPENDENCY_OF") in kinds
    contained = [one["relatedSpdxElement"] for one in spdx["relationships"]
                 if one["relationshipType"] == "CONTAINS"]
    assert contained == ["SPDXRef-deb-libstdc-plus-plus6-amd64"]


def test_removed_packages_are_left_out(entry):
    entry.write_text(ENTRY.replace("install ok installed", "deinstall ok config-files"))
    assert packages(document("0.1.0", entry)) == []


def test_equal_input_makes_equal_documents_and_other_input_another_name(entry):
    first, again = sbom("0.1.0", entry), sbom("0.1.0", entry)
    assert first.stdout == again.stdout
    entry.write_text(ENTRY.replace("12.2.0", "12.2.1"))
    assert json.loads(first.stdout)["documentNamespace"] != \
        document("0.1.0", entry)["documentNamespace"]


@pytest.mark.parametrize("arguments", [(), ("0.1.0",), ("0.1.0", "/no/such/file"),
                                       ("0.1.0", STATUS, "/no/such/file")])
def test_what_is_missing_is_an_error(arguments):
    ended = sbom(*arguments)
    assert ended.returncode != 0 and ended.stdout == "" and ended.stderr


def test_the_dockerfile_sets_each_label_from_what_a_build_can_say():
    text = (paths.SOURCE / "Dockerfile").read_text()
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', text))
    assert set(labels) == {"title", "description", "licenses", "vendor", "source",
                           "version", "revision", "created"}
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.M))
    for label, value in labels.items():
        told = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], value)
        assert told, label
