from __future__ import annotations

import re
import string
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imip_secrets.errors import ImipError
from imip_secrets.names import Origin, made, parse_allowed, refused, segment, valid

NOTHING_ALLOWED: frozenset[str] = frozenset()


def words(text: str) -> list[str]:
    return text.split()


# Written out by hand, so that a slip in a pattern cannot hide behind the same slip here.
NEVER = words("""
    GITHUB_ENV GITHUB_PATH GITHUB_TOKEN GITHUB_OUTPUT GITHUB_WORKSPACE GITHUB_ACTIONS RUNNER_TEMP
    RUNNER_TOOL_CACHE RUNNER_DEBUG RUNNER_OS ACTIONS_ALLOW_UNSECURE_COMMANDS ACTIONS_STEP_DEBUG
    ACTIONS_RUNNER_DEBUG ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_RUNTIME_TOKEN
    ACTIONS_CACHE_URL INPUT_TOKEN INPUT_SCRIPT INPUT_PATH STATE_ISPOST STATE_TOKEN NODE_OPTIONS
""")
ALWAYS = words("""
    CI LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_DEBUG_OUTPUT LD_PROFILE LD_PROFILE_OUTPUT LD_ORIGIN_PATH
    LD_BIND_NOW LD_SHOW_AUXV LD_USE_LOAD_BIAS DYLD_INSERT_LIBRARIES DYLD_LIBRARY_PATH DYLD_FRAMEWORK_PATH
    DYLD_FALLBACK_LIBRARY_PATH _RLD_LIST _RLDN32_LIST LDR_PRELOAD LDR_CNTRL LIBPATH SHLIB_PATH GCONV_PATH
    GETCONF_DIR GLIBC_TUNABLES LOCPATH NLSPATH PATH_LOCALE MALLOC_TRACE MALLOC_CHECK_ HOSTALIASES LOCALDOMAIN
    RES_OPTIONS RESOLV_HOST_CONF NIS_PATH TZDIR BASH_ENV ENV BASH_FUNC_ECHO BASH_FUNC_LS __BASH_FUNC_ECHO
    SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND IFS CDPATH GLOBIGNORE FPATH ZDOTDIR NULLCMD READNULLCMD TMPPREFIX
    SHELL COMSPEC PATHEXT PSMODULEPATH __PSLOCKDOWNPOLICY BASH_LOADABLES_PATH PATH HOME USERPROFILE APPDATA
    LOCALAPPDATA XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME TMPDIR TMP TEMP SYSTEMROOT WINDIR
""")
BY_HAND = words("""
    PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONINSPECT PYTHONBREAKPOINT PYTHONWARNINGS BROWSER
    PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX VIRTUAL_ENV PIP_INDEX_URL PIP_EXTRA_INDEX_URL
    PIP_CONFIG_FILE PIP_TRUSTED_HOST UV_INDEX UV_DEFAULT_INDEX UV_PYTHON UV_CONFIG_FILE POETRY_HOME
    POETRY_CONFIG_DIR TWINE_REPOSITORY_URL NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED
    NPM_CONFIG_REGISTRY NPM_CONFIG_USERCONFIG NPM_CONFIG_PREFIX YARN_RC_FILENAME BUN_CONFIG_REGISTRY DENO_DIR
    ELECTRON_RUN_AS_NODE PERL5OPT PERL5LIB PERLLIB PERL5DB PERLIO_DEBUG RUBYOPT RUBYLIB GEM_HOME GEM_PATH
    BUNDLE_GEMFILE JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS JAVA_OPTS CLASSPATH MAVEN_OPTS GRADLE_OPTS
    GRADLE_USER_HOME SBT_OPTS ANT_OPTS DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS CORECLR_PROFILER
    CORECLR_PROFILER_PATH CORECLR_PROFILER_PATH_64 COR_PROFILER COR_PROFILER_PATH PHPRC PHP_INI_SCAN_DIR
    LUA_PATH LUA_PATH_5_4 LUA_CPATH LUA_INIT LUA_INIT_5_4 CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CPATH
    C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH LIBRARY_PATH CGO_CFLAGS CGO_LDFLAGS CGO_ENABLED GOFLAGS
    GOENV GOPATH GOPROXY GONOSUMDB GOPRIVATE GOSUMDB GOINSECURE RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS
    CARGO_HOME CARGO_BUILD_RUSTC CARGO_BUILD_TARGET CARGO_BUILD_RUSTC_WRAPPER CARGO_REGISTRIES_MINE_INDEX
    CARGO_REGISTRIES_CRATES_IO_PROTOCOL MAKEFLAGS MFLAGS GNUMAKEFLAGS CMAKE_C_COMPILER CMAKE_CXX_COMPILER
    CMAKE_CUDA_COMPILER GIT_SSH GIT_SSH_COMMAND GIT_ASKPASS GIT_EDITOR GIT_SEQUENCE_EDITOR GIT_PAGER
    GIT_EXTERNAL_DIFF GIT_EXEC_PATH GIT_TEMPLATE_DIR GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_CONFIG_COUNT
    GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0 GIT_CONFIG_PARAMETERS GIT_PROXY_COMMAND GIT_SSL_NO_VERIFY GIT_SSL_CAINFO
    GIT_DIR GIT_WORK_TREE GIT_TRACE GIT_AUTHOR GIT_TOKENS SSH_ASKPASS HGRCPATH PAGER MANPAGER LESSOPEN LESSCLOSE
    EDITOR VISUAL SUDO_EDITOR FCEDIT SUDO_ASKPASS TERMINFO TERMINFO_DIRS TERMCAP TERMPATH WGETRC CURL_HOME NETRC
    OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES KRB5_CONFIG KRB5_KTNAME KRB5_TRACE KRB5CCNAME HTTP_PROXY
    HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE
    SSLKEYLOGFILE DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT KUBECONFIG AWS_ENDPOINT_URL
    AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL_SECRETS_MANAGER AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE
    AWS_PROFILE AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN
    AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_EC2_METADATA_DISABLED AWS_DATA_PATH VAULT_ADDR VAULT_AGENT_ADDR
    VAULT_SKIP_VERIFY VAULT_PROXY_ADDR VAULT_CACERT VAULT_CACERT_BYTES BAO_ADDR BAO_SKIP_VERIFY
    AZURE_AUTHORITY_HOST AZURE_FEDERATED_TOKEN_FILE GOOGLE_APPLICATION_CREDENTIALS
""")
ORDINARY = words("""
    GIT_TOKEN GIT_PASSWORD GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_DATE
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION VAULT_TOKEN
    BAO_TOKEN AZURE_CLIENT_SECRET GH_TOKEN NPM_TOKEN NODE_AUTH_TOKEN TWINE_PASSWORD DATABASE_URL SECRET_KEY
    MONGO_URI OPENAI_API_KEY PATHS MY_PATH HOMEPAGE CI_TOKEN CIRCLE STATE INPUT RUNNER GITHUB GITHUBTOKEN
    ACTIONS LD BASH ENVIRONMENT SHELLS PIPELINE GITEA_TOKEN CMAKE_COMPILER_X PERL RUBY JAVA NODE_ENV
    PYTHON_VERSION DOCKER_PASSWORD IDENTITY MY_LD_PRELOAD _PATH USER PASSWORD CCC MY_CC
""")
DANGEROUS = [*NEVER, *ALWAYS, *BY_HAND]


def cases(name: str) -> set[str]:
    return {name, name.lower(), name.title(), name.swapcase()}


def key_of(name: str, mark: str) -> str:
    """Give a key that becomes the name, with a mark for each inner underscore."""
    return name[:1] + name[1:].replace("_", mark)


def test_the_list_is_as_long_as_it_was_promised_and_has_no_name_twice() -> None:
    assert len(DANGEROUS) >= 250
    assert len(set(DANGEROUS)) == len(DANGEROUS)


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_dangerous_name_is_refused_however_it_was_made(name: str) -> None:
    routes = {made(key_of(name, mark), transform, None) for mark in "_-. /" for transform in ("upper", "lower", "none")}
    routes |= {made(text, transform, None) for text in cases(name) for transform in ("upper", "lower", "none")}
    routes |= {made(name[cut:], "upper", name[:cut].lower()) for cut in range(1, len(name))}
    routes |= {made(name[cut:], "none", name[:cut]) for cut in range(1, len(name))}
    assert name in routes
    for route in routes:
        problem = refused(route, Origin.MADE, NOTHING_ALLOWED)
        assert problem is not None, route
        assert route in problem.what
        assert "another" in problem.remedy


@pytest.mark.parametrize("name", NEVER)
def test_the_runners_own_names_are_refused_even_when_written_and_allowed(name: str) -> None:
    for text in cases(name):
        allowed, problems = parse_allowed(text)
        assert "can never be allowed" in problems[0].what
        for origin in Origin:
            problem = refused(text, origin, allowed)
            assert problem is not None
            assert "belongs to the runner" in problem.what
            assert "cannot lift" in problem.remedy


@pytest.mark.parametrize("name", ALWAYS)
def test_names_that_every_process_reads_are_refused_even_when_written_but_can_be_allowed(name: str) -> None:
    for text in cases(name):
        problem = refused(text, Origin.WRITTEN, NOTHING_ALLOWED)
        assert problem is not None
        assert f"allow-names: {text}" in problem.remedy
        assert "by hand" not in problem.remedy
        allowed, problems = parse_allowed(text)
        assert problems == ()
        for spelled in cases(name):
            assert refused(spelled, Origin.WRITTEN, allowed) is None
            assert refused(spelled, Origin.MADE, allowed) is None


@pytest.mark.parametrize("name", BY_HAND)
def test_other_dangerous_names_may_be_written_by_hand_or_allowed(name: str) -> None:
    for text in cases(name):
        assert refused(text, Origin.WRITTEN, NOTHING_ALLOWED) is None
        problem = refused(text, Origin.MADE, NOTHING_ALLOWED)
        assert problem is not None
        assert f"by hand ({text} = reference)" in problem.remedy
        assert f"allow-names: {text}" in problem.remedy
        assert refused(text, Origin.MADE, parse_allowed(name)[0]) is None


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_not_refused(name: str) -> None:
    for text in cases(name):
        for origin in Origin:
            assert refused(text, origin, NOTHING_ALLOWED) is None


def test_allowing_one_name_allows_no_other() -> None:
    allowed, _ = parse_allowed("PATH")
    assert refused("HOME", Origin.WRITTEN, allowed) is not None
    assert refused("PATHEXT", Origin.WRITTEN, allowed) is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BASH_ENV", "(shell): it changes how a shell starts"),
        ("LD_PRELOAD", "(loader): it changes what every program loads"),
        ("HOSTALIASES", "(resolver): it changes how host names"),
        ("PATH", "(search paths): it changes where programs"),
        ("CI", "(runner control): it tells every tool"),
        ("PIP_INDEX_URL", "(Python): it"),
        ("NODE_PATH", "(Node): it"),
        ("PERL5OPT", "(other runtimes): it"),
        ("C_INCLUDE_PATH", "(build): it"),
        ("GIT_SSH_COMMAND", "(git and ssh): it"),
        ("PAGER", "(tools): it"),
        ("HTTPS_PROXY", "(network trust): it"),
        ("VAULT_ADDR", "(cloud redirect): it"),
    ],
)
def test_the_problem_names_the_group_and_says_why(name: str, words: str) -> None:
    problem = refused(name, Origin.MADE, NOTHING_ALLOWED)
    assert problem is not None
    assert words in problem.what


def test_a_refused_name_of_any_length_makes_a_short_problem() -> None:
    problem = refused("GIT_" + "X" * 70_000, Origin.MADE, NOTHING_ALLOWED)
    assert problem is not None
    assert len(str(problem)) < 500


def test_looking_up_a_long_name_takes_linear_time() -> None:
    start = time.process_time()
    refused("A" * 1_000_000, Origin.MADE, NOTHING_ALLOWED)
    made("-" * 1_000_000, "upper", None)
    segment("arn:aws:secretsmanager:us-east-1:1:secret:" + "-Abcdef" * 100_000 + "!")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "transform", "prefix", "name"),
    [
        ("SECRET-KEY", "upper", None, "SECRET_KEY"),
        ("db.password", "upper", None, "DB_PASSWORD"),
        ("db.password", "lower", None, "db_password"),
        ("Db.Password", "none", None, "Db_Password"),
        ("a b/c", "upper", None, "A_B_C"),
        ("a__b", "upper", None, "A__B"),
        ("-", "upper", None, "_"),
        ("\n\x00", "upper", None, "__"),
        ("0", "upper", None, "_0"),
        ("2fa", "upper", None, "_2FA"),
        ("2fa", "upper", "app_", "app_2FA"),
        ("key", "lower", "APP_", "APP_key"),
        ("Key", "none", "App", "AppKey"),
        ("_x", "upper", None, "_X"),
    ],
)
def test_a_name_is_made_from_a_key(text: str, transform: str, prefix: str | None, name: str) -> None:
    assert made(text, transform, prefix) == name


@pytest.mark.parametrize(
    "text",
    ["é", "пароль", "key\u20131", "\u017f", "\u212a", "\U0001d52d", "٣", "😀", "\u202ekey", "\ud800", "x" * 9999 + "é"],
)
def test_what_is_not_ascii_makes_no_name(text: str) -> None:
    for prefix in (None, "APP_"):
        with pytest.raises(ImipError, match="gives no name") as caught:
            made(text, "upper", prefix)
        (problem,) = caught.value.problems
        assert "Give a NAME" in problem.remedy
        assert len(str(problem)) < 300
        assert "\u202e" not in str(problem)


def test_an_empty_key_makes_no_name_not_even_after_a_prefix() -> None:
    for prefix in (None, "APP_"):
        with pytest.raises(
            ImipError, match=r"empty key gives no name.*a JSON pointer leads to this one: NAME = reference#/"
        ):
            made("", "upper", prefix)


@pytest.mark.parametrize("name", ["a", "_", "A1", "_1", "PATH", "class", "x" * 9999])
def test_a_valid_name(name: str) -> None:
    assert valid(name)


@pytest.mark.parametrize(
    "name", ["", "1", "1A", "A-B", "A.B", "A B", "A=", "é", "A\n", "\nA", "A\0", "\u212a", "²", "a²", "ª"]
)
def test_a_name_that_no_shell_takes_is_not_valid(name: str) -> None:
    assert not valid(name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("imip/production", "production"),
        ("production", "production"),
        ("imip/production/", "production"),
        ("/imip/prod/db", "db"),
        ("a//b", "b"),
        ("", ""),
        ("///", ""),
        ("with-AbCdEf", "with-AbCdEf"),
        ("arn:aws:secretsmanager:us-east-1:1:secret:imip/prod-AbCdEf", "prod"),
        ("arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-AbCdEf", "prod"),
        ("arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/prod", "prod"),
        ("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a/b-c-12ab34", "b-c"),
        ("arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:db-passwd-AbCdEf", "db-passwd"),
        ("arn:aws-iso-b:secretsmanager:us-isob-east-1:1:secret:x-AAAAAA-BBBBBB", "x-AAAAAA"),
        ("arn:aws:secretsmanager:us-east-1:1:secret:prod/-AbCdEf", "prod"),
        ("arn:aws:ssm:us-east-1:1:parameter/imip/prod-AbCdEf", "prod-AbCdEf"),
        ("arn/x", "x"),
    ],
)
def test_a_variable_is_named_after_the_last_segment_of_the_path(path: str, name: str) -> None:
    assert segment(path) == name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        (" , ,, \n", set()),
        ("PATH", {"PATH"}),
        ("path,Home", {"PATH", "HOME"}),
        ("PATH HOME\n\tCI,LD_PRELOAD , my_own\r\n", {"PATH", "HOME", "CI", "LD_PRELOAD", "MY_OWN"}),
    ],
)
def test_allowed_names_stand_by_comma_or_white_space(text: str, names: set[str]) -> None:
    assert parse_allowed(text) == (frozenset(names), ())


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("LD_*", "LD_* is a pattern"),
        ("*", "* is a pattern"),
        ("GITHUB_*", "GITHUB_* is a pattern"),
        ("1PATH", '"1PATH" is no name'),
        ("PA-TH", '"PA-TH" is no name'),
        ("PÄTH", '"PÄTH" is no name'),
        ("PATH;HOME", '"PATH;HOME" is no name'),
        ("github_env", "github_env can never be allowed: it belongs to the runner"),
        ("NODE_OPTIONS", "NODE_OPTIONS can never be allowed"),
    ],
)
def test_a_word_that_allows_nothing_is_a_problem(word: str, what: str) -> None:
    names, (problem,) = parse_allowed(f"PATH {word}, HOME")
    assert {"PATH", "HOME"} <= names
    assert problem.where == "input allow-names"
    assert problem.what.startswith(what)
    assert problem.remedy


def test_every_word_that_allows_nothing_is_reported_at_once() -> None:
    assert len(parse_allowed("A* 1 GITHUB_ENV PATH")[1]) == 3


NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PREFIXES = st.none() | st.from_regex(NAME, fullmatch=True)
TRANSFORMS = st.sampled_from(["upper", "lower", "none"])


@given(st.text() | st.text(string.printable), TRANSFORMS, PREFIXES)
def test_what_is_made_is_a_valid_name_or_an_error(text: str, transform: str, prefix: str | None) -> None:
    try:
        name = made(text, transform, prefix)
    except ImipError:
        assert not text or not text.isascii()
        return
    assert valid(name)
    assert name.startswith(prefix or "")
    assert text
    assert text.isascii()


@given(st.text(string.printable, min_size=1), TRANSFORMS)
def test_a_name_made_of_a_made_name_is_the_same(text: str, transform: str) -> None:
    name = made(text, transform, None)
    assert made(name, transform, None) == name


@given(st.text())
def test_a_name_is_valid_when_it_matches_the_contract(text: str) -> None:
    assert valid(text) == (NAME.fullmatch(text) is not None)


@given(st.from_regex(NAME, fullmatch=True), st.sampled_from(list(Origin)))
def test_case_never_changes_a_verdict(name: str, origin: Origin) -> None:
    verdicts = {refused(text, origin, NOTHING_ALLOWED) is None for text in cases(name)}
    assert len(verdicts) == 1


@given(st.text(), st.from_regex(NAME, fullmatch=True))
def test_allowing_a_name_never_refuses_another(text: str, name: str) -> None:
    assume(refused(name, Origin.MADE, NOTHING_ALLOWED) is None)
    assert refused(name, Origin.MADE, parse_allowed(text)[0]) is None
