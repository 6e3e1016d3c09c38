#!/usr/bin/env python3
"""Which systems deploy/setup supports, told by an os-release that the test writes."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN_13 = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n'
UBUNTU_24 = 'PRETTY_NAME="Ubuntu 24.04 LTS"\nVERSION_ID="24.04"\nID=ubuntu\n'
FEDORA = 'PRETTY_NAME="Fedora Linux 40"\nVERSION_ID=40\nID=fedora\n'
DEBIAN_SID = 'PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n'


def setup(os_release, *arguments):
    """Exit code, standard output and standard error on a system of that kind."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "os-release")
        if os_release:
            file.write_text(os_release, encoding="ascii")
        done = subprocess.run(
            [ROOT / "deploy/setup", *arguments], capture_output=True, text=True,
            check=False, env={"PATH": "/usr/bin:/bin", "FFF_OS_RELEASE": str(file)})
    return done.returncode, done.stdout, done.stderr


class SetupTest(unittest.TestCase):

    def test_takes_the_compilers_of_the_system(self):
        for system, version in ((DEBIAN_13, 19), (UBUNTU_24, 18)):
            code, packages, _ = setup(system, "test", "--list")
            self.assertEqual(code, 0)
            clang = [line for line in packages.splitlines() if "clang" in line]
            self.assertEqual(
                clang, [f"clang-{version}", f"libclang-rt-{version}-dev",
                        f"clang-tidy-{version}", f"clang-format-{version}"])

    def test_refuses_other_systems_and_says_what_they_need(self):
        for system, name in ((FEDORA, "Fedora Linux 40"),
                             (DEBIAN_SID, "Debian GNU/Linux forky/sid"),
                             ("", "a system without ")):
            for action in ([], ["--check"]):
                code, _, error = setup(system, "build", *action)
                self.assertEqual(code, 1)
                self.assertIn(f"got {name}", error)
                self.assertIn("wanted Debian 12, Debian 13 or Ubuntu 24.04", error)
                self.assertIn("\n  libgrpc++-dev\n", error)

    def test_help_says_which_systems_are_supported(self):
        code, text, _ = setup(FEDORA, "--help")
        self.assertEqual(code, 0)
        self.assertIn("Supported: Debian 12 and 13", text)


if __name__ == "__main__":
    unittest.main()
