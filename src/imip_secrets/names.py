"""Names of variables: made from keys and paths, checked, and refused where they would change how programs run.

A secret store must not decide what the next step loads or where it connects.
The names that could are refused in two tiers, compared without case (Windows
knows none, and ``http_proxy`` is as good as ``HTTP_PROXY``). They come from
what glibc drops for privileged programs (``sysdeps/generic/unsecvars.h``), what
sudo drops (``plugins/sudoers/env.c``), and what the runner itself keeps back.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SHOWN = 80  # characters of a name or key that an error shows
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
_AWS_ARN = r"arn:[^:/]+:secretsmanager:[^:/]*:[^:/]*:secret:(?P<name>.+?)(?:-[A-Za-z0-9]{6})?"
_TRANSFORMS: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "none": str}
_INPUT = "input allow-names"


class Origin(Enum):
    """Who chose a name."""

    WRITTEN = "the NAME stands in the reference"
    MADE = "from a key, a listing, a path segment, or after a prefix"


class _Patterns(NamedTuple):
    """Names and patterns in upper case; a pattern holds one ``*``."""

    exact: frozenset[str]
    starts: tuple[str, ...]
    framed: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, words: str) -> _Patterns:
        """Sort the words by how they are looked up."""
        halves = [word.partition("*") for word in words.split()]
        return cls(
            exact=frozenset(start for start, star, _ in halves if not star),
            starts=tuple(start for start, star, end in halves if star and not end),
            framed=tuple((start, end) for start, _, end in halves if end),
        )

    def hold(self, name: str) -> bool:
        """Tell whether the name in upper case is one of them."""
        return (
            name in self.exact
            or name.startswith(self.starts)
            or any(name.startswith(start) and name.endswith(end) for start, end in self.framed)
        )


class _Group(NamedTuple):
    """Names that are dangerous for one reason.

    Args:
        title: What an error calls the group.
        why: What such a variable does, after the word "it".
        patterns: The names.
        always: Refused even when the NAME is written by hand.
        liftable: Whether ``allow-names`` may lift the refusal.

    """

    title: str
    why: str
    patterns: _Patterns
    always: bool = False
    liftable: bool = True


# The runner drops NODE_OPTIONS from the environment file itself (actions/runner Runner.Worker/FileCommandManager.cs),
# so to let it through, written by hand or not, would only fail later.
_GROUPS = (
    _Group(
        "runner control",
        "belongs to the runner and changes what it does",
        _Patterns.of("GITHUB_* RUNNER_* ACTIONS_* INPUT_* STATE_* NODE_OPTIONS"),
        always=True,
        liftable=False,
    ),
    _Group(
        "runner control",
        "tells every tool whether it runs in CI",
        _Patterns.of("CI"),
        always=True,
    ),
    _Group(
        "loader",
        "changes what every program loads",
        _Patterns.of("""
            LD_* DYLD_* _RLD* LDR_* LIBPATH SHLIB_PATH GCONV_PATH GETCONF_DIR GLIBC_TUNABLES LOCPATH NLSPATH
            PATH_LOCALE MALLOC_TRACE MALLOC_CHECK_ MALLOC_PERTURB_
        """),
        always=True,
    ),
    _Group(
        "resolver",
        "changes how host names and system files are found",
        _Patterns.of("HOSTALIASES LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF NIS_PATH TZDIR"),
        always=True,
    ),
    _Group(
        "shell",
        "changes how a shell starts or what it runs",
        _Patterns.of("""
            BASH_ENV ENV BASH_FUNC_* __BASH_FUNC* BASH_LOADABLES_PATH SHELLOPTS BASHOPTS PS0 PS1 PS2 PS4
            PROMPT_COMMAND IFS CDPATH GLOBIGNORE FPATH ZDOTDIR NULLCMD READNULLCMD TMPPREFIX SHELL COMSPEC
            PATHEXT PSMODULEPATH __PSLOCKDOWNPOLICY
        """),
        always=True,
    ),
    _Group(
        "search paths",
        "changes where programs and their settings are found",
        _Patterns.of("""
            PATH HOME HOMEDRIVE HOMEPATH USERPROFILE ALLUSERSPROFILE APPDATA LOCALAPPDATA PROGRAMDATA
            XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_DATA_HOME XDG_DATA_DIRS XDG_CACHE_HOME XDG_STATE_HOME
            XDG_RUNTIME_DIR TMPDIR TMP TEMP SYSTEMROOT SYSTEMDRIVE WINDIR
        """),
        always=True,
    ),
    _Group(
        "Python",
        "changes what Python and its tools load",
        _Patterns.of("""
            PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONINSPECT PYTHONBREAKPOINT PYTHONWARNINGS
            BROWSER PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX PYTHONSAFEPATH PYTHONNOUSERSITE
            PYTHONCASEOK VIRTUAL_ENV PIP_* UV_* POETRY_* TWINE_REPOSITORY TWINE_REPOSITORY_URL PYTEST_ADDOPTS
            PYTEST_PLUGINS
        """),
    ),
    _Group(
        "Node",
        "changes what Node and its tools load or trust",
        _Patterns.of("""
            NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NPM_CONFIG_* YARN_RC_FILENAME
            BUN_CONFIG_REGISTRY DENO_DIR ELECTRON_RUN_AS_NODE
        """),
    ),
    _Group(
        "other runtimes",
        "changes what a language's runtime loads",
        _Patterns.of("""
            PERL5OPT PERL5LIB PERLLIB PERL5DB PERLIO_DEBUG PERL_UNICODE PERL_MM_OPT PERL_MB_OPT RUBYOPT RUBYLIB
            GEM_HOME GEM_PATH BUNDLE_GEMFILE BUNDLE_PATH JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS
            JAVA_OPTS CLASSPATH MAVEN_OPTS MAVEN_ARGS GRADLE_OPTS GRADLE_USER_HOME SBT_OPTS ANT_OPTS ANT_ARGS
            DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS DOTNET_SHARED_STORE CORECLR_PROFILER*
            CORECLR_ENABLE_PROFILING COR_PROFILER* COR_ENABLE_PROFILING PHPRC PHP_INI_SCAN_DIR LUA_PATH*
            LUA_CPATH* LUA_INIT*
        """),
    ),
    _Group(
        "build",
        "changes what a compiler or build tool does",
        _Patterns.of("""
            CC CXX CPP CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CPATH *_INCLUDE_PATH LIBRARY_PATH COMPILER_PATH
            GCC_EXEC_PREFIX CGO_* GOFLAGS GOENV GOPATH GOROOT GOPROXY GONOPROXY GOSUMDB GONOSUMDB GOPRIVATE
            GOINSECURE GOTOOLCHAIN RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_HOME
            CARGO_BUILD_* CARGO_REGISTRIES_* MAKEFLAGS MAKEFILES MFLAGS GNUMAKEFLAGS CMAKE_*_COMPILER
            CMAKE_*_LAUNCHER CMAKE_TOOLCHAIN_FILE
        """),
    ),
    _Group(
        "git and ssh",
        "changes what git, ssh or hg run",
        _Patterns.of("GIT_* SSH_ASKPASS SSH_ASKPASS_REQUIRE SSH_AUTH_SOCK HGRCPATH"),
    ),
    _Group(
        "tools",
        "names the command or the settings that common tools use",
        _Patterns.of("""
            PAGER MANPAGER LESSOPEN LESSCLOSE EDITOR VISUAL SUDO_EDITOR FCEDIT SUDO_ASKPASS TERMINFO* TERMCAP
            TERMPATH WGETRC CURL_HOME NETRC OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES KRB5_* KRB5CCNAME
        """),
    ),
    _Group(
        "network trust",
        "changes where traffic goes or whom it trusts",
        _Patterns.of("""
            HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE
            CURL_CA_BUNDLE AWS_CA_BUNDLE SSLKEYLOGFILE DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH
            DOCKER_CONTEXT DOCKER_CONFIG KUBECONFIG
        """),
    ),
    _Group(
        "cloud redirect",
        "changes which address or account cloud tools use",
        _Patterns.of("""
            AWS_ENDPOINT_URL* AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_PROFILE AWS_DEFAULT_PROFILE
            AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_* AWS_EC2_METADATA_* AWS_DATA_PATH VAULT_ADDR
            VAULT_AGENT_ADDR VAULT_SKIP_VERIFY VAULT_PROXY_ADDR VAULT_HTTP_PROXY VAULT_CACERT* VAULT_CAPATH
            VAULT_TLS_SERVER_NAME BAO_ADDR BAO_AGENT_ADDR BAO_SKIP_VERIFY BAO_PROXY_ADDR BAO_HTTP_PROXY
            BAO_CACERT* BAO_CAPATH BAO_TLS_SERVER_NAME AZURE_AUTHORITY_HOST AZURE_FEDERATED_TOKEN_FILE
            GOOGLE_APPLICATION_CREDENTIALS
        """),
    ),
)

# They hold a credential or a person's name and make git run nothing.
_ORDINARY = _Patterns.of("GIT_TOKEN GIT_PASSWORD GIT_AUTHOR_* GIT_COMMITTER_*")


def valid(name: str) -> bool:
    """Tell whether a text can be the name of a variable: ``[A-Za-z_][A-Za-z0-9_]*``."""
    return name.isascii() and name.isidentifier()


def segment(path: str) -> str:
    """Return the part of a store's path that a variable is named after.

    That is the last segment; of the ARN of an AWS secret the last segment of
    the secret's name, without the hyphen and six characters that AWS adds.
    """
    arn = re.fullmatch(_AWS_ARN, path) if path.startswith("arn:") else None
    return (arn["name"] if arn else path).rstrip("/").rpartition("/")[2]


def made(text: str, transform: str, prefix: str | None) -> str:
    """Make the name of a variable from a key or a path segment.

    Args:
        text: The key or the segment.
        transform: ``upper``, ``lower`` or ``none``; the prefix stays as it is written.
        prefix: A valid name that stands before it, or None.

    Raises:
        ImipError: no name can be made; carries one problem, which the caller places.

    """
    if not text:
        remedy = "Take the keys one by one; a JSON pointer leads to this one: NAME = reference#/."
        raise ImipError(Problem("an empty key gives no name", remedy=remedy))
    if not text.isascii():
        what = f'"{tame(text, _SHOWN)}" gives no name, for it is not all ASCII'
        raise ImipError(Problem(what, remedy="Give a NAME: NAME = reference."))
    name = _TRANSFORMS[transform](_NOT_IN_NAMES.sub("_", text))
    if prefix:
        return prefix + name
    return f"_{name}" if name[0].isdigit() else name


def refused(name: str, origin: Origin, allowed: frozenset[str]) -> Problem | None:
    """Say why a variable may not have this name, or return None when it may.

    Args:
        name: The name as the variable would have it.
        origin: Who chose it.
        allowed: The names that :func:`parse_allowed` gave.

    """
    group = _group_of(name.upper())
    if group is None or (origin is Origin.WRITTEN and not group.always):
        return None
    if group.liftable and name.upper() in allowed:
        return None
    shown = tame(name, _SHOWN)
    what = f"the name {shown} is refused ({group.title}): it {group.why}"
    if not group.liftable:
        return Problem(what, remedy="Give it another NAME; allow-names cannot lift this one.")
    if group.always:
        return Problem(what, remedy=f"Give it another NAME, or if it is meant: allow-names: {shown}.")
    return Problem(what, remedy=f"Write the NAME by hand ({shown} = reference), or another, or allow-names: {shown}.")


def parse_allowed(text: str) -> tuple[frozenset[str], tuple[Problem, ...]]:
    """Read the input ``allow-names``: names by comma or white space.

    Returns:
        The names in upper case, and what is wrong with the rest.

    """
    words = text.replace(",", " ").split()
    problems = tuple(_allowed_problems(words))
    return frozenset(word.upper() for word in words if valid(word)), problems


def _allowed_problems(words: Iterable[str]) -> Iterable[Problem]:
    """Find the words that allow nothing."""
    for word in words:
        shown = tame(word, _SHOWN)
        group = _group_of(word.upper())
        if "*" in word:
            yield Problem(f"{shown} is a pattern", _INPUT, "Write each name in full.")
        elif not valid(word):
            yield Problem(f'"{shown}" is no name', _INPUT, "A name has letters, digits and _ and starts with no digit.")
        elif group is not None and not group.liftable:
            yield Problem(f"{shown} can never be allowed: it {group.why}", _INPUT, "Give the variable another NAME.")


def _group_of(name: str) -> _Group | None:
    """Return the group of a name in upper case, or None for an ordinary name."""
    if _ORDINARY.hold(name):
        return None
    return next((group for group in _GROUPS if group.patterns.hold(name)), None)
