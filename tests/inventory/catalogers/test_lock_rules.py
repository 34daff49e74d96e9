"""What lock files may hold beside packages of a registry: repositories, folders, aliases, work spaces, ranges, roles."""

from __future__ import annotations

import json

import pytest

from inventory.catalogers.lockcases import look, said

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_npm_packages_from_elsewhere() -> None:
    """With a version they are evidence with a vcs_url; version 1 of the format has none for repositories: a gap."""
    lock = {
        "name": "app",
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "app", "version": "1.0.0", "workspaces": ["packages/*"]},
            "packages/ui": {"name": "@app/ui", "version": "0.1.0"},
            "node_modules/@app/ui": {"resolved": "packages/ui", "link": True},
            "node_modules/fork": {"version": "2.0.0", "resolved": f"git+ssh://git@example.invalid/fork.git#{COMMIT}"},
            "node_modules/a/node_modules/@s/b": {"version": "1.0.0", "devOptional": True},
            "node_modules/nothing": {"peer": True},
        },
    }
    packages, gaps = look("lock_node", "package-lock.json", json.dumps(lock).encode())
    assert [(p.namespace, p.name, p.version, p.role) for p in packages] == [
        ("", "app", "1.0.0", "main"),
        ("@app", "ui", "0.1.0", "main"),
        ("", "fork", "2.0.0", ""),
        ("@s", "b", "1.0.0", ""),
    ]
    assert packages[2].qualifiers == (("vcs_url", f"git+ssh://git@example.invalid/fork.git@{COMMIT}"),)
    assert [gap.code for gap in gaps] == ["inventory.unresolved"]
    old = {
        "lockfileVersion": 1,
        "dependencies": {
            "fork": {"version": f"github:user/fork#{COMMIT}"},
            "tar": {"version": "https://example.invalid/tar-1.0.0.tgz"},
            "a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0", "dev": True}}},
        },
    }
    assert said("lock_node", "package-lock.json", json.dumps(old)) == [
        "a 1.0.0",
        "b 2.0.0 dev",
        "unresolved fork",
        "unresolved tar",
    ]


def test_a_package_wanted_by_the_application_is_no_development_tool() -> None:
    """The same version as a tool and for the application counts once, and not as "dev"."""
    lock = {
        "packages": {
            "node_modules/a": {"version": "1.0.0", "dev": True},
            "node_modules/b/node_modules/a": {"version": "1.0.0"},
            "node_modules/c/node_modules/a": {"version": "1.0.0", "dev": True},
        }
    }
    assert said("lock_node", "package-lock.json", json.dumps(lock)) == ["a 1.0.0"]


def test_yarn_classic_forms() -> None:
    """Aliases have the name of what they stand for, repositories a vcs_url, folders nothing; a block may list many patterns."""
    text = (
        '"@s/a@^1.0.0", "@s/a@~1.2":\n  version "1.2.3"\n  resolved "https://example.invalid/a.tgz#00"\n\n'
        'alias@npm:@t/real@2:\n  version "2.0.0"\n\n'
        f'fork@user/fork:\n  version "3.0.0"\n  resolved "git+https://example.invalid/fork.git#{COMMIT}"\n\n'
        '"own@file:../own":\n  version "0.0.0"\n\n'
        "broken@1:\n  dependencies:\n    a 1\n\n"
        'last@1:\r\n  version "1.0.0"\r\n'
    )
    assert said("lock_node", "yarn.lock", text) == ["@s/a 1.2.3", "@t/real 2.0.0", "fork 3.0.0", "invalid the", "last 1.0.0"]
    (fork,) = (p for p in look("lock_node", "yarn.lock", text.encode())[0] if p.name == "fork")
    assert fork.qualifiers == (("vcs_url", f"git+https://example.invalid/fork.git@{COMMIT}"),)


def test_yarn_berry_forms() -> None:
    """Work spaces are left out unless they have a version, patches are what they patch, long keys are two lines."""
    text = (
        "__metadata:\n  version: 8\n\n"
        '"app@workspace:.":\n  version: 0.0.0-use.local\n  resolution: "app@workspace:."\n\n'
        '"lib@workspace:lib":\n  version: 1.0.0\n  resolution: "lib@workspace:lib"\n\n'
        '"a@patch:a@npm%3A1.0.0#~/.yarn/patches/a.patch":\n  version: 1.0.0\n'
        '  resolution: "a@patch:a@npm%3A1.0.0#~/.yarn/patches/a.patch::version=1.0.0&hash=00"\n\n'
        '? "b@npm:1, b@npm:2"\n:\n  version: 2.0.0\n  resolution: "b@npm:2.0.0"\n\n'
        f'"c@https://example.invalid/c.git":\n  version: 3.0.0\n  resolution: "c@https://example.invalid/c.git#commit={COMMIT}"\n\n'
        '"d@portal:../d":\n  version: 0.0.0-use.local\n  resolution: "d@portal:../d::locator=app"\n'
    )
    assert said("lock_node", "yarn.lock", text) == ["a 1.0.0", "b 2.0.0", "c 3.0.0", "lib 1.0.0 main"]
    (fork,) = (p for p in look("lock_node", "yarn.lock", text.encode())[0] if p.name == "c")
    assert fork.qualifiers == (("vcs_url", f"git+https://example.invalid/c.git@{COMMIT}"),)


@pytest.mark.parametrize(
    ("version", "key", "expected"),
    [
        ("5.4", "/a/1.0.0_peer@2.0.0", "a 1.0.0"),
        ("5.1", "/@s/a/1.0.0/peer@2.0.0", "unresolved /@s/a/1.0.0/peer@2.0.0"),
        ("5.3", "registry.example.invalid/@s/a/1.0.0", "@s/a 1.0.0"),
        ("5.3", f"github.com/user/fork/{COMMIT}", f"unresolved github.com/user/fork/{COMMIT}"),
        ("'6.0'", "/@s/a@1.0.0(peer@2.0.0)(other@3)", "@s/a 1.0.0"),
        ("'6.0'", "a@1.10", "a 1.10"),
        ("'6.0'", "a@https://example.invalid/a.tgz", "unresolved a"),
    ],
)
def test_pnpm_keys(version: str, key: str, expected: str) -> None:
    """Peers are cut off, registries' hosts too; what comes from elsewhere and states no version is a gap."""
    assert said("lock_node", "pnpm-lock.yaml", f"lockfileVersion: {version}\npackages:\n  '{key}':\n    dev: false\n") == [
        expected
    ]


def test_pnpm_packages_from_a_repository() -> None:
    """Name and version stand inside; the repository becomes a vcs_url. pnpm's own document comes first and counts too."""
    text = (
        "---\nlockfileVersion: '9.0'\npackages:\n  pnpm@11.0.0: {}\nsnapshots:\n  pnpm@11.0.0: {}\n---\n"
        f"lockfileVersion: '9.0'\npackages:\n  fork@git+https://example.invalid/fork.git#{COMMIT}:\n"
        f"    resolution: {{commit: '{COMMIT}', repo: 'https://example.invalid/fork.git', type: git}}\n    version: 1.2.0\n"
        f"snapshots:\n  fork@git+https://example.invalid/fork.git#{COMMIT}: {{}}\n"
    )
    packages, gaps = look("lock_node", "pnpm-lock.yaml", text.encode())
    assert not gaps
    assert [(p.name, p.version) for p in packages] == [("pnpm", "11.0.0"), ("fork", "1.2.0")]
    assert packages[1].qualifiers == (("vcs_url", f"git+https://example.invalid/fork.git@{COMMIT}"),)


def test_bun_forms() -> None:
    """Nested places are other versions; work spaces and folders are left out, repositories a gap, commas in texts are kept."""
    text = """{
      "lockfileVersion": 1,
      "workspaces": {"": {"name": "app", "dependencies": {"a": "1",}, "devDependencies": {"t": "1"},},
                     "lib": {"name": "lib", "version": "0.2.0"},},
      "packages": {
        "a": ["a@1.0.0", "", {"dependencies": {"b": "1"}}, "sha512-,]"],
        "b": ["b@2.0.0", "", {}, ""],
        "a/b": ["b@1.0.0", "", {}, ""],
        "t": ["t@1.0.0", "", {"dependencies": {"b": "2"}}, ""],
        "lib": ["lib@workspace:lib"],
        "fork": ["fork@github:user/fork#0123456", {}, "user-fork-0123456"],
        "odd": [],
      },
    }"""
    assert said("lock_node", "bun.lock", text) == [
        "a 1.0.0",
        "b 1.0.0",
        "b 2.0.0 dev",
        "invalid no",
        "lib 0.2.0 main",
        "t 1.0.0 dev",
        "unresolved fork",
    ]
    assert "save-text-lockfile" in look("lock_node", "bun.lockb", b"#!/usr/bin/env bun\nbun-lockfile")[1][0].message


def test_lock_files_inside_installed_packages_are_not_read() -> None:
    """A lock file that was published with a package says nothing about the project."""
    assert said("lock_node", "node_modules/a/package-lock.json", "broken") == []
    assert said("lock_python", "lib/python3/site-packages/a/requirements.txt", "a==1") == []
    assert said("lock_python", "mypkg/mod/requirements.txt", "a==1") == ["a 1"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a==1.0", "a 1.0"),
        ("a == 1.0  # why", "a 1.0"),
        ("a (==1.0)", "a 1.0"),
        ("a[x,y]==1.0;python_version<'3'", "a 1.0"),
        ("a===1.0+local", "a 1.0+local"),
        ("a>=0.9,==1.0", "a 1.0"),
        ("a~=1.0", "unpinned a"),
        ("a==1.*", "unpinned a"),
        ("a", "unpinned a"),
        ("a ; os_name == 'nt'", "unpinned a"),
        ("a @ https://example.invalid/a-1.0-py3-none-any.whl", "a 1.0"),
        ("a@git+ssh://example.invalid/a", "unresolved a"),
        ("git+https://example.invalid/a.git@main#egg=a", "unresolved a"),
        ("-r base.in", "unresolved base.in"),
        ("--requirement=../x.in", "unresolved ../x.in"),
        ("?", "invalid no"),
    ],
)
def test_requirement_lines(line: str, expected: str) -> None:
    """Only an exact version is evidence; all else says why it is not."""
    assert said("lock_python", "requirements.txt", line + "\n") == [expected]


@pytest.mark.parametrize(
    "line",
    ["", "# only words", "-c constraints.txt", "-r requirements-dev.txt", "-e .", "./folder", "--no-binary :all:", "a.whl"],
)
def test_requirement_lines_that_say_nothing(line: str) -> None:
    """Options, comments, the project's own folders and files that are read anyway leave no trace."""
    assert said("lock_python", "requirements.txt", line) == []


def test_requirement_files_by_name_and_encoding() -> None:
    """`requirements` may be a folder at the top; a mark names the encoding; the role follows the file's name."""
    assert said("lock_python", "requirements/test.txt", "a==1\n-r base.txt\n-r ../requirements/prod.txt") == ["a 1 dev"]
    assert said("lock_python", "requirements/notes.md", "no requirements at all") == []
    assert said("lock_python", "requirements.txt", b"\xff\xfe" + "a==1\r\n".encode("utf-16-le")) == ["a 1"]
    assert said("lock_python", "requirements.txt", "\xe9==1\n".encode("latin-1")) == ["invalid no"]
    prose = "\n".join(f"line {number} of prose!" for number in range(100))
    assert len(said("lock_python", "requirements.txt", prose)) == 21


def test_hashed_requirements_cut_off() -> None:
    """Half a hash, or a pin without one at the very end, is no evidence of anything."""
    whole = "a==1 --hash=sha256:" + "0" * 64
    assert said("lock_python", "requirements.txt", whole) == ["a 1"]
    assert said("lock_python", "requirements.txt", whole + "\nb==1.2") == ["a 1", "truncated the"]
    assert said("lock_python", "requirements.txt", whole[:-3]) == ["truncated the"]


def test_poetry_and_pdm_sources() -> None:
    """Repositories are evidence with a vcs_url, folders nothing; a group of unknown meaning is not called "dev"."""
    poetry = (
        '[[package]]\nname = "A_b"\nversion = "1.0"\n[package.source]\ntype = "git"\nurl = "https://example.invalid/a.git"\n'
        f'reference = "main"\nresolved_reference = "{COMMIT}"\n\n'
        '[[package]]\nname = "own"\nversion = "0.1"\n[package.source]\ntype = "directory"\nurl = "own"\n'
        '[[package]]\nname = "both"\nversion = "2"\ngroups = ["main", "dev"]\n'
    )
    packages, _ = look("lock_python", "poetry.lock", poetry.encode())
    assert [(p.name, p.version, p.role) for p in packages] == [("a-b", "1.0", ""), ("both", "2", "")]
    assert packages[0].qualifiers == (("vcs_url", f"git+https://example.invalid/a.git@{COMMIT}"),)
    pdm = (
        '[metadata]\nlock_version = "4.5.0"\n[[package]]\nname = "a"\nversion = "1"\ngroups = ["socks"]\n'
        '[[package]]\nname = "b"\nversion = "1"\ngroups = ["test"]\n[[package]]\nname = "own"\nversion = "0"\npath = "./own"\n'
        f'[[package]]\nname = "c"\nversion = "1"\ngit = "https://example.invalid/c"\nrevision = "{COMMIT}"\n'
    )
    assert said("lock_python", "pdm.lock", pdm) == ["a 1", "b 1 dev", "c 1"]


def test_pipenv_and_pylock_without_versions() -> None:
    """A repository without version and an open range are gaps, folders nothing."""
    pipenv = {
        "_meta": {},
        "default": {
            "a": {"git": "https://example.invalid/a", "ref": "0"},
            "b": {"version": "*"},
            "own": {"path": ".", "editable": True},
        },
        "docs": {"c": {"version": "==1.0"}},
        "extra": {"d": {"version": "==1.0"}},
    }
    assert said("lock_python", "Pipfile.lock", json.dumps(pipenv)) == ["c 1.0 dev", "d 1.0", "unpinned b", "unresolved a"]
    pylock = (
        'lock-version = "1.0"\n[[packages]]\nname = "a"\n'
        'vcs = {type = "git", url = "https://example.invalid/a", commit-id = "0"}\n'
        '[[packages]]\nname = "b"\nversion = "2"\nvcs = {type = "git", url = "https://example.invalid/b", commit-id = "1"}\n'
        '[[packages]]\nname = "own"\ndirectory = {path = "."}\n'
    )
    assert said("lock_python", "pylock.toml", pylock) == ["b 2", "unresolved a"]
    assert said("lock_python", "pylock.dev.toml", "a = 1") == ["unreadable a"]


def test_uv_repositories() -> None:
    """A git source keeps its version and gets a vcs_url without the query."""
    text = (
        f'version = 1\n[[package]]\nname = "a"\nversion = "1"\nsource = {{ git = "https://example.invalid/a?tag=v1#{COMMIT}" }}\n'
    )
    packages, _ = look("lock_python", "uv.lock", text.encode())
    assert packages[0].qualifiers == (("vcs_url", f"git+https://example.invalid/a@{COMMIT}"),)


def test_cargo_repositories() -> None:
    """A crate from a repository keeps its version; one without any source is the project's own."""
    text = f'[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "git+https://example.invalid/a?rev=1#{COMMIT}"\n'
    packages, _ = look("lock_rust", "Cargo.lock", text.encode())
    assert packages[0].qualifiers == (("vcs_url", f"git+https://example.invalid/a@{COMMIT}"),)
    assert said("lock_rust", "Cargo.lock", '[root]\nname = "r"\nversion = "1"\n[[package]]\nname = "p"\nversion = "1"\n') == [
        "p 1 main",
        "r 1 main",
    ]


def test_go_statements() -> None:
    """Single lines and blocks, quotes and comments; a replacement by version or for all, by a module or a folder."""
    text = (
        'module "example.com/m" // why\ngo 1.21\ntoolchain go1.22.1\ntool example.com/t\n'
        "require example.com/a v1.0.0\nrequire (\n\t`example.com/b` v1.0.0 // indirect\n\texample.com/c/v2 v2.0.0\n"
        "\texample.com/d v0.0.0-20200101000000-0123456789ab\n\texample.com/e v1.0.0\n)\n"
        "replace (\n\texample.com/a v1.0.0 => example.com/fork/a v1.0.1\n\texample.com/b => ../b\n"
        "\texample.com/e v0.9.0 => ./e\n)\n"
        "exclude example.com/c/v2 v2.0.1\nretract (\n\tv1.0.0\n\t[v1.1.0, v1.2.0]\n)\n"
    )
    assert said("lock_go", "go.mod", text) == [
        "example.com/c/v2 v2.0.0",
        "example.com/d v0.0.0-20200101000000-0123456789ab",
        "example.com/e v1.0.0",
        "example.com/fork/a v1.0.1",
    ]
    assert said("lock_go", "go.mod", "module m\ngo 1.21\nrequire a main\nreplace x\n") == ["invalid no", "invalid no"]
    assert said("lock_go", "go.mod", "go 1.21\n") == ["unreadable no"]


def test_composer_forms() -> None:
    """Names are lower case, folders are left out, a missing version is a gap."""
    lock = {
        "packages": [
            {"name": "Acme/Lib", "version": "v1.0", "dist": {"type": "zip"}, "source": {"type": "git", "url": "u"}},
            {"name": "acme/own", "version": "dev-main", "dist": {"type": "path", "url": "../own"}},
            {
                "name": "acme/fork",
                "version": "1.0",
                "source": {"type": "git", "url": "https://example.invalid/f.git", "reference": "0"},
            },
            {"name": "acme/none"},
        ],
        "packages-dev": None,
    }
    packages, gaps = look("lock_php", "composer.lock", json.dumps(lock).encode())
    assert [(p.namespace, p.name, p.version) for p in packages] == [("acme", "lib", "v1.0"), ("acme", "fork", "1.0")]
    assert [p.qualifiers for p in packages] == [(), (("vcs_url", "git+https://example.invalid/f.git@0"),)]
    assert [gap.code for gap in gaps] == ["inventory.invalid"]


def test_bundler_merge_conflict() -> None:
    """A file with the marks of an unfinished merge is not believed."""
    assert said("lock_ruby", "Gemfile.lock", "GEM\n  specs:\n    a (1)\n<<<<<<< HEAD\n")[-1].startswith("unreadable")


def test_maven_profiles_and_archives() -> None:
    """Dependencies of profiles count; properties that stand for each other end; a pom unpacked from a jar is not read."""
    text = (
        "<project><groupId>g</groupId><artifactId>a</artifactId><version>${revision}</version>"
        "<properties><revision>1</revision><x>${y}</x><y>${x}</y></properties>"
        "<profiles><profile><dependencies>"
        "<dependency><groupId>g</groupId><artifactId>b</artifactId><version>${x}</version></dependency>"
        "<dependency><groupId>g</groupId><artifactId>c</artifactId><version>${project.version}</version></dependency>"
        "</dependencies></profile></profiles></project>"
    )
    assert said("lock_java", "pom.xml", text) == ["g/a 1 main", "g/c 1", "unresolved g", "unresolved what"]
    assert said("lock_java", "META-INF/maven/g/a/pom.xml", text) == []


def test_gradle_without_dependencies() -> None:
    """A file that says there are none is whole; one without a word is not."""
    assert said("lock_java", "gradle.lockfile", "# Gradle\nempty=compileClasspath\n") == []
    assert said("lock_java", "gradle.lockfile", "# Gradle\n") == ["unreadable no"]


def test_nuget_projects_and_frameworks() -> None:
    """A package counts once for all frameworks; projects of the solution do not."""
    lock = {
        "version": 2,
        "dependencies": {
            "net8.0": {"A.B": {"type": "Direct", "resolved": "1.0.0"}, "own": {"type": "Project"}},
            "net9.0": {"A.B": {"type": "CentralTransitive", "resolved": "1.0.0"}, "C": {"type": "Transitive"}},
        },
    }
    assert said("lock_dotnet", "packages.lock.json", json.dumps(lock)) == ["A.B 1.0.0", "unresolved C"]
