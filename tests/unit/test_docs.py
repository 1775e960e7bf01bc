"""What the pages say is so: tables are those of the code, examples are right, links lead somewhere."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from imip_secrets import cli, handed_token, names, references, request, settings
from imip_secrets.runner import files, masks
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.settings import Input

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
USED_AS = ("org/imip-secrets-action@", "org/imip-secrets-action/docker@")
CALLED_AS = "org/imip-secrets-action/.github/workflows/"  # what is called so is the matter of test_sync_workflow.py
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
PEM_KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"
# What stands for the expressions of a workflow: the runner puts the values in their place.
EXPRESSIONS = {
    "vars.VAULT_CA_PEM": PEM,
    "vars.VAULT_CLIENT_PEM": PEM,
    "secrets.VAULT_CLIENT_KEY": PEM_KEY,
    "secrets.VAULT_TOKEN": "s.token",
    "secrets.IMIP_SYNC_MANIFEST": "",
    "inputs.dry-run || false": "false",
    "vars.VAULT_ROLE_ID": "675a50e7-cfe0-be76-e35f-49ec009731ea",
    "secrets.VAULT_SECRET_ID": "ed0a642f-2acf-c2da-232f-1b21300d5f29",
    "secrets.VAULT_PASSWORD": "a password",
    "secrets.VAULT_GITHUB_TOKEN": "ghp_token",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in _fenced(page) if block.language in languages]


def _fenced(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _code_spans(page: Path) -> list[str]:
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", _prose(page))]


def _between(text: str, start: str, end: str) -> str:
    return text.partition(f"<!-- {start}")[2].partition("-->")[2].partition(f"<!-- {end}")[0].strip()


def _rows(text: str, heading: str) -> list[list[str]]:
    """Give the cells of the first table below a heading, without its two lines of head."""
    below = f"\n{text}".partition(f"\n{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, heading
    return [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in table[0].splitlines()[2:]]


def _ids(value: object) -> str:
    return str(value)


# --- tables that repeat the code --------------------------------------------------------------------------------------


def _takes(item: Input) -> str:
    if item.kind == "flag":
        return "`true`, `false`"
    return ", ".join(f"`{choice}`" for choice in item.choices) or item.kind


def _table_of_inputs() -> str:
    lines: list[str] = []
    group = ""
    for item in settings.INPUTS:
        if item.group != group:
            group = item.group
            lines += ["", f"**{group}**", "", "| Input | Takes | Default | What it is |", "|---|---|---|---|"]
        default = f"`{item.default}`" if item.default else ""
        lines.append(f"| `{item.name}` | {_takes(item)} | {default} | {item.help} |")
    return "\n".join(lines).strip()


def _table_of_refused_names() -> str:
    lines = ["| Group | What it does | Names |", "|---|---|---|"]
    for group in names._GROUPS:
        patterns = group.patterns
        every = [
            *patterns.exact,
            *(f"{start}*" for start in patterns.starts),
            *(f"{start}*{end}" for start, end in patterns.framed),
        ]
        how = f"{', always' if group.always else ''}{'' if group.liftable else ', never lifted'}"
        lines.append(f"| {group.title}{how} | {group.why} | {', '.join(f'`{name}`' for name in sorted(every))} |")
    return "\n".join(lines)


def test_the_readme_has_every_input_with_its_default_and_its_help() -> None:
    assert _between(_read("README.md"), "inputs:", "end of inputs") == _table_of_inputs()


def test_the_page_of_references_has_every_refused_name() -> None:
    assert _between(_read("docs/references.md"), "refused:", "end of refused") == _table_of_refused_names()


@pytest.mark.parametrize(("page", "heading"), [("README.md", "### Options"), ("docs/references.md", "## Options")])
def test_every_option_is_told_with_the_stores_that_take_it(page: str, heading: str) -> None:
    told: dict[str, set[str]] = {}
    for cells in _rows(_read(page), heading):
        stores = set(SCHEMES) if cells[1] == "all" else set(re.findall(r"`([a-z-]+)`", cells[1]))
        for option in re.findall(r"`([a-z]+)", cells[0]):
            told.setdefault(option, set()).update(stores)
    assert told == {
        option: {scheme.name for scheme in SCHEMES.values() if option in references.COMMON_OPTIONS | scheme.options}
        for option in references.COMMON_OPTIONS.union(*(scheme.options for scheme in SCHEMES.values()))
    }


def test_the_outputs_are_those_of_the_action() -> None:
    action: dict[str, Any] = yaml.safe_load(_read("action.yml"))
    assert [cells[0].strip("`") for cells in _rows(_read("README.md"), "## Outputs")] == list(action["outputs"])


def test_the_commands_are_those_of_the_program() -> None:
    told = {
        re.findall(r"imip-secrets (\w+)", cells[0])[0] for cells in _rows(_read("docs/command-line.md"), "## Commands")
    }
    usage = cli.parser().format_help()
    assert told == set(re.findall(r"^    (\w+) ", usage, re.MULTILINE))


def test_every_variable_that_counts_on_the_command_line_is_told() -> None:
    spans = _code_spans(ROOT / "docs/command-line.md")
    assert [name for item in settings.INPUTS for name in item.variables if name not in spans] == []


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("README.md", f"more than {files.VALUE_LIMIT >> 10} KiB, or more than {files.TOTAL_LIMIT >> 20} MiB"),
        ("README.md", f"a value over {masks.WHOLE_LIMIT >> 10} KiB"),
        ("README.md", f"more than {masks.LINES_LIMIT} lines"),
        ("README.md", f"`mask-floor` ({settings.BY_NAME['mask-floor'].default})"),
        ("README.md", f"fewer than {masks.NUMBER_FLOOR}\n  digits"),
        ("docs/aws.md", f"lives for {settings.BY_NAME['aws-role-duration-seconds'].default} seconds"),
    ],
)
def test_a_number_is_that_of_the_code(page: str, told: str) -> None:
    assert told in _read(page)


@pytest.mark.parametrize("cells", _rows(_read("docs/references.md"), "## Names"), ids=lambda cells: cells[0])
def test_a_made_name_is_as_the_page_says(cells: list[str]) -> None:
    written, _, _ = cells[0].partition(", ")
    text = written.strip("`")
    key = names.segment(text.partition("://")[2]) if "://" in text else text
    assert names.made(key, "upper", None) == cells[1].strip("`")


# --- examples ---------------------------------------------------------------------------------------------------------


def _references() -> Iterator[tuple[str, str]]:
    """Give every reference that is shown as right: in code spans and, on a line of its own, in blocks of text."""
    schemes = "|".join(SCHEMES)
    for page in PAGES:
        yield from ((page.name, span) for span in _code_spans(page) if re.search(rf"\b(?:{schemes})://", span))
    for block in _blocks("text"):
        lines = (line for line in block.text.splitlines() if re.match(rf"(?:\w+\*? = )?(?:{schemes})://", line))
        yield from ((str(block), line) for line in lines)


@pytest.mark.parametrize(("_where", "text"), sorted(set(_references())))
def test_a_reference_is_right(_where: str, text: str) -> None:
    lines, problems = references.parse(text)
    assert not problems
    assert len(lines) == 1


@pytest.mark.parametrize("block", _blocks("json"), ids=_ids)
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.text)


def _filled(text: str) -> str:
    return re.sub(r"\$\{\{ *([\w.| -]+?) *\}\}", lambda found: EXPRESSIONS[found[1]], text)


def _steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    jobs = document.get("jobs", {"": document})
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    return [step for step in steps if step.get("uses", "").startswith(USED_AS)]


def _requests() -> list[tuple[Block, dict[str, str]]]:
    return [
        (block, {name: _filled(text) for name, text in step["with"].items()})
        for block in _blocks("yaml")
        for step in _steps(yaml.safe_load(block.text))
    ]


@pytest.mark.parametrize("block", _blocks("yaml"), ids=_ids)
def test_yaml_is_a_step_of_ours_or_a_list_of_secrets(block: Block) -> None:
    document = yaml.safe_load(block.text)
    if "secrets" in document:
        assert not references.parse(document["secrets"])[1]
    elif not any(job.get("uses", "").startswith(CALLED_AS) for job in document.get("jobs", {}).values()):
        assert _steps(document)


@pytest.mark.parametrize(("_block", "given"), _requests(), ids=_ids)
def test_what_a_step_is_given_is_a_request_without_a_mistake(_block: Block, given: dict[str, str]) -> None:
    assert all(isinstance(text, str) for text in given.values())  # "false" needs its quotes, or it is no text
    assert request.read(given).lines


@pytest.mark.parametrize("block", [each for each in _blocks("yaml") if "\njobs:" in each.text], ids=_ids)
def test_a_whole_workflow_passes_actionlint(block: Block) -> None:
    program = shutil.which("actionlint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("actionlint is not installed beside this Python")
    done = subprocess.run(
        [program, "-shellcheck=", "-pyflakes=", "-no-color", "-"],
        input=block.text.encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


def _commands(program: str) -> list[tuple[Block, list[str]]]:
    """Give the arguments of every command of a program in the blocks of shell."""
    return [
        (block, words[1:]) for block in _blocks("sh") for words in _command_lines(block.text) if words[:1] == [program]
    ]


def _command_lines(text: str) -> Iterator[list[str]]:
    """Cut a block of shell into commands; one whose quote is still open goes on in the next line."""
    open_line = ""
    for line in text.replace("\\\n", " ").splitlines():
        open_line += line
        try:
            words = shlex.split(open_line, comments=open_line.startswith("make"))
        except ValueError:
            open_line += "\n"
            continue
        open_line = ""
        yield words
    assert not open_line, "a quote is never closed"


@pytest.mark.parametrize(("_block", "words"), _commands("imip-secrets"), ids=_ids)
def test_a_command_line_is_one_that_the_program_takes(_block: Block, words: list[str]) -> None:
    _, options, child = cli.parse(words)
    assert bool(child) == (options.command == "run")
    written = "\n".join(getattr(options, "references", ()))
    assert not written or not references.parse(written)[1]


@pytest.mark.parametrize(("_block", "words"), _commands("make"), ids=_ids)
def test_a_target_of_make_is_there(_block: Block, words: list[str]) -> None:
    assert f"\n{words[0]}: " in _read("Makefile")


def test_the_job_for_gitlab_is_one_that_the_program_takes_with_a_token_for_each_store() -> None:
    (block,) = _blocks("yml")
    job = yaml.safe_load(block.text)["deploy"]
    assert all(handed_token.is_ours(name) for name in job["id_tokens"])
    (script,) = job["script"]
    program, *words = shlex.split(script)
    _, options, child = cli.parse(words)
    assert (program, options.command, child) == ("imip-secrets", "run", ["./deploy.sh"])
    assert not references.parse("\n".join(options.references))[1]
    audiences = {settings.BY_NAME["aws-audience"].default, job["variables"]["VAULT_ADDR"]}
    assert {token["aud"] for token in job["id_tokens"].values()} == audiences


# --- AWS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("_block", "words"), _commands("aws"), ids=_ids)
def test_a_command_of_the_aws_command_line_is_one_of_the_api(_block: Block, words: list[str]) -> None:
    """The AWS command line makes its commands and options of botocore's models (awscli ``clidriver.py``)."""
    import botocore.session  # noqa: PLC0415  # a fifth of a second, for these alone
    from botocore import xform_name  # noqa: PLC0415  # the same

    service, command, *rest = words
    model = botocore.session.Session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[command]).input_shape
    options = {f"--{xform_name(name, '-')}": name for name in shape.members}
    given = {options[word] for word in rest if word.startswith("--")}
    assert set(shape.required_members) <= given


def _statements() -> list[dict[str, Any]]:
    documents = [json.loads(block.text) for block in _blocks("json") if block.page.name == "aws.md"]
    return [statement for document in documents for statement in document.get("Statement", [])]


def _statement(action: str) -> dict[str, Any]:
    (found,) = (each for each in _statements() if each["Action"] == action)
    return found


def test_the_trust_policy_binds_the_audience_and_the_whole_subject_in_both_forms() -> None:
    condition = _statement("sts:AssumeRoleWithWebIdentity")["Condition"]
    issuer = "token.actions.githubusercontent.com"
    assert condition == {
        "StringEquals": {
            f"{issuer}:aud": settings.BY_NAME["aws-audience"].default,
            f"{issuer}:sub": [
                "repo:ORG/REPO:environment:production",
                "repo:ORG@ORG_ID/REPO@REPO_ID:environment:production",
            ],
        }
    }


def test_the_permission_covers_the_secrets_of_the_examples_and_no_others() -> None:
    resource = _statement("secretsmanager:GetSecretValue")["Resource"]
    start = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
    assert fnmatch.fnmatchcase(f"{start}imip/production-a1B2c3", resource)
    assert not fnmatch.fnmatchcase(f"{start}other/production-a1B2c3", resource)


# --- pages among themselves -------------------------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    """Give the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links() -> list[tuple[Path, str]]:
    found = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page))]
    return [(page, link) for page, link in found if not link.startswith("https://")]


@pytest.mark.parametrize(("page", "link"), _links(), ids=lambda value: getattr(value, "name", str(value)))
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in _anchors(target)


def test_every_decision_is_in_the_list_and_has_a_number_of_its_own() -> None:
    folder = ROOT / "docs/decisions"
    pages = sorted(page.name for page in folder.glob("[0-9]*.md"))
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$", _read("docs/decisions/README.md"), re.MULTILINE)
    assert [name for _, _, name in listed] == pages
    assert len({name[:4] for name in pages}) == len(pages)
    for number, title, name in listed:
        assert (folder / name).read_text(encoding="utf-8").startswith(f"# {number}. {title}\n")
        assert int(name[:4]) == int(number)


def _said() -> str:
    """Return the program's text, with the literals of several lines joined, as it stands in its errors."""
    paths = [*(ROOT / "src").rglob("*.py"), ROOT / "action.yml", ROOT / "launch.py"]
    return "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in sorted(paths))


@pytest.mark.parametrize(
    ("page", "fragment"),
    [
        (page, fragment.strip())
        for page, heading in (
            ("docs/troubleshooting.md", "# Troubleshooting"),
            ("docs/aws.md", "## Errors"),
            ("docs/vault.md", "## Errors"),
            ("docs/sync.md", "## When it does not work"),
        )
        for cells in _rows(_read(page), heading)
        for span in re.findall(r"`([^`]+)`", cells[0])
        for fragment in span.split("…")
        if len(fragment.strip()) > len("words")
    ],
)
def test_an_error_that_a_page_explains_is_one_that_the_program_has(page: str, fragment: str) -> None:
    of_vault = {"invalid audience", "invalid subject", 'claim "sub"', 'role "x" could not be found'}
    # Of its other logins; tests/integration/test_vault_logins.py has Vault say so.
    of_vault |= {"invalid role or secret ID", "service account name not authorized", "failed to bind as user"}
    assert fragment in _said() or (page == "docs/vault.md" and fragment in of_vault)
