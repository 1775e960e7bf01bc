"""What Vault's refusals mean, and what to do: one line each.

What comes from Vault is foreign text; a path may come from Vault's own lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.stores.vault.answer import whole, words

if TYPE_CHECKING:
    from imip_secrets.document import Json
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient
    from imip_secrets.stores.vault.place import Place
    from imip_secrets.stores.vault.session import Session

_V2 = 2
_SEALED_OR_DOWN = 503
# HTTP API, "HTTP status codes", and the health endpoint's for 472 and 473.
_STATUSES = {
    405: ("it cannot be read", "If its engine wants parameters, add them as JSON: ?body={...}. A plain read has none."),
    412: ("it has not caught up with its cluster", "Try again; if it stays so, look at its replication."),
    429: ("it is asked too often", "Raise its rate limit quota, or read fewer secrets at once."),
    472: ("it is a disaster recovery secondary, which serves no reads", "Give the primary's address as vault-addr."),
    473: ("it is a performance standby that cannot serve this", "Give the active node's address as vault-addr."),
    501: ("it is not initialised", "Initialise it: vault operator init."),
}
_SEALED = ("it is sealed", "Unseal it (vault operator unseal), or ask those who run it.")
_ILL = ("it is not well", "Look at its log, and at the proxy or load balancer in front of it.")


def refusal(client: VaultClient, session: Session, place: Place, verb: str, answer: Answer) -> StoreError:
    """Make the error for a refused read or listing.

    Args:
        client: Asked for the seal status when Vault is down.
        session: Who was refused.
        place: What was to be read or listed.
        verb: The capability that this takes: read, list, update or delete; write for
            create and update, describe for a read of the metadata.
        answer: The refusal.

    """
    if answer.status == 403:  # noqa: PLR2004
        return _denied(session, place, verb, answer)
    if answer.status == 404 and "no handler for route" in answer.reason:  # noqa: PLR2004
        return _no_engine(place)
    if answer.status == 404 and "namespace not found" not in answer.reason:  # noqa: PLR2004
        return no_secret(place)
    if answer.status == 400:  # noqa: PLR2004
        said = answer.reason or "it gives no reason"
        return StoreError(f"Vault refuses {_shown(place)}: {said}", "Correct the path, or the set-up of its engine.")
    return unwell(client, answer, place.namespace)


def unwell(client: VaultClient, answer: Answer, namespace: str) -> StoreError:
    """Make the error for a status that says more about Vault than about the secret."""
    said = answer.reason
    if "namespace not found" in said:
        what = f"Vault at {client.address} knows no namespace {tame(namespace, 80)}"
        return StoreError(what, "Correct vault-namespace, or the option namespace.")
    what, remedy = _STATUSES.get(answer.status, _ILL)
    if answer.status == _SEALED_OR_DOWN:
        what, remedy = _why_down(client)
    return StoreError(f"Vault at {client.address} answers {answer.status}, {what}{f': {said}' if said else ''}", remedy)


def no_secret(place: Place) -> MissingError:
    """Make the error for a secret that is not there."""
    remedy = "Correct the path."
    if place.version:
        remedy = f"Correct the path, or write the secret: vault kv put {_flags(place)} KEY=VALUE."
    return MissingError(f"there is nothing at {_shown(place)}", f"{remedy}{_of_the_api(place)}")


def api_path(place: Place) -> MissingError:
    """Make the error for a path of the API of KV version 2 where the path of the secret is wanted."""
    plain = tame(place.path.replace("/data/", "/", 1), 200)
    return MissingError(f"{_shown(place)} is a path of the API, not of a secret", f"Write vault://{plain}.")


def no_version(place: Place, version: str, current: int) -> MissingError:
    """Make the error for a version that never was, or that KV has thrown away."""
    return MissingError(
        f"{_shown(place)} has no version {version}",
        f"The current version is {current}; vault kv metadata get {_flags(place)} shows those that are kept.",
    )


def no_versions(place: Place) -> StoreError:
    """Make the error for a version asked of what has none."""
    if place.mount is None:
        what = f"{_shown(place)} is in no KV version 2 engine that this login may read"
        return StoreError(what, "Leave version= out, or allow the read: " + _policy(place, "read"))
    engine = "KV version 1" if place.version else "no KV engine"
    return StoreError(f"{_shown(place)} is in {engine}, which keeps no versions", "Leave version= out.")


def gone(place: Place, facts: dict[str, Json]) -> MissingError | None:
    """Make the error for a deleted or destroyed version by its metadata; None when it is neither."""
    number = whole(facts, "version")
    since = words(facts, "deletion_time")
    if facts.get("destroyed") is True:
        return MissingError(
            f"version {number} of {_shown(place)} is destroyed for good",
            f"Name another with version=, or bring one back (vault kv rollback {_flags(place, '-version=N')}).",
        )
    if since:
        return MissingError(
            f"version {number} of {_shown(place)} is deleted (since {tame(since[:10])})",
            f"Bring it back (vault kv undelete {_flags(place, f'-versions={number}')}), or name another with version=.",
        )
    return None


def tells_nothing(place: Place) -> StoreError:
    """Make the error for a path outside KV version 2, which alone keeps dates and versions."""
    what = f"{_shown(place)} is in no engine of KV version 2, so nothing is kept of its age and versions"
    return StoreError(what, "Leave it out here, or move it: vault kv enable-versioning MOUNT.")


def keeps_nothing(place: Place) -> StoreError:
    """Make the error for a path that is in no KV engine, as far as Vault tells, where a secret is to be written."""
    remedy = "Name a path in a KV engine: vault secrets list shows them."
    return StoreError(f"{_shown(place)} is in no KV engine that Vault tells of, so nothing can be kept there", remedy)


def keeps_no_versions(place: Place) -> StoreError:
    """Make the error for an engine in which a new value would leave nothing of the old one."""
    what = f"the engine of {_shown(place)} is not KV version 2, so the value before would be lost"
    return StoreError(what, "Move the secret to KV version 2: vault kv enable-versioning MOUNT.")


def would_write(place: Place) -> StoreError:
    """Make the error for an object sent to where it would be kept, or may be: nothing here writes a secret."""
    if place.version:
        what = f"{_shown(place)} is in a KV engine, where body would overwrite a secret"
        return StoreError(what, "Leave body out: nothing is to be sent for a read.")
    return StoreError(
        f"Vault does not tell which engine {_shown(place)} is in, and body could overwrite a secret of a KV engine",
        f"Correct the path, or allow it in a policy: {_policy(place, 'update', sure=True)}",
    )


def over(place: Place) -> StoreError:
    """Make the error for credentials that nobody would get any more."""
    return StoreError(f"{_shown(place)} was not asked for credentials, since the run was over")


def folder(place: Place) -> MissingError:
    """Make the error for a folder where a secret is wanted."""
    return MissingError(
        f"{_shown(place)} is a folder", f"Write vault://{tame(place.path, 200)}* for all that is in it."
    )


def no_data(place: Place) -> StoreError:
    """Make the error for a success that holds nothing."""
    return StoreError(f"Vault answers {_shown(place)} without data", "Does a control group ask for an approval first?")


def not_listable(place: Place) -> StoreError:
    """Make the error for a listing of what is no KV engine: reading its roles would make credentials of each."""
    return StoreError(f"{_shown(place)} is in no KV engine, so it is not listed", "Name what is wanted, line by line.")


def bad_listing(place: Place, what: str) -> StoreError:
    """Make the error for a listing that cannot be worked through."""
    return StoreError(
        f"the listing of {_shown(place)} {what}", "Name a folder further down, or what is wanted line by line."
    )


def _denied(session: Session, place: Place, verb: str, answer: Answer) -> StoreError:
    said = answer.reason.removeprefix("1 error occurred: * ")
    extra = f" ({said})" if said not in {"", "permission denied"} else ""
    # To Vault a mount that is not there and one that this login may not use are the same.
    spelling = "" if place.mount else f" Vault tells of no engine at {tame(place.root, 80)}/: look at the spelling too."
    return StoreError(
        f"Vault denies {_DOING[verb]} {_shown(place)}{extra}",
        f"Allow it in a policy of {session.who}: {_policy(place, verb)}{spelling}{session.doubt}{_of_the_api(place)}",
    )


_DOING = {
    "read": "reading",
    "list": "listing",
    "update": "sending body to",
    "write": "writing",
    "delete": "deleting",
    "describe": "reading the metadata of",
}


def _policy(place: Place, verb: str, *, sure: bool = False) -> str:
    """Write the rule that allows it; both, where the engine is not known, nor sure to be none of KV."""
    kind = "metadata" if verb in {"list", "delete", "describe"} else "data"
    star = "*" if verb == "list" else ""
    versioned, plain = f"{place.root}/{kind}/{place.rest}{star}", f"{place.path}{star}"
    if place.version == _V2:
        return f"{_rule(versioned, verb)}."
    if place.mount or sure:
        return f"{_rule(plain, verb)}."
    return f"{_rule(versioned, verb)}, in KV version 1 {_rule(plain, verb)}."


def _rule(path: str, verb: str) -> str:
    can = {"write": '"create", "update"', "describe": '"read"'}.get(verb, f'"{verb}"')
    return f'path "{tame(path, 200)}" {{ capabilities = [{can}] }}'


def _no_engine(place: Place) -> StoreError:
    where = _within(place.namespace) or " in the root namespace"
    return StoreError(
        f"no secrets engine is mounted at {tame(place.root, 80)}/{where}",
        "Look at vault secrets list: a path begins with the mount. Or it is in another namespace (HCP, Enterprise, "
        "OpenBao): set vault-namespace, or the option namespace.",
    )


def _why_down(client: VaultClient) -> tuple[str, str]:
    """Ask why; sealed and not initialised both answer 503."""
    try:
        status = client.seal_status().body
    except StoreError:
        return _ILL
    if status.get("initialized") is False:
        return _STATUSES[501]
    return _SEALED if status.get("sealed") is True else _ILL


def _of_the_api(place: Place) -> str:
    """Say what the path is without ``data/``, where it may have been copied from the API."""
    versioned = place.version == _V2 or place.mount is None
    if not versioned or not place.rest.startswith("data/"):
        return ""
    plain = f"{place.root}/{place.rest.removeprefix('data/')}"
    return f" If data/ comes from the path of the API, leave it out: vault://{tame(plain, 200)}."


def _flags(place: Place, more: str = "") -> str:
    """Write the arguments of ``vault kv`` that name the secret."""
    return " ".join(filter(None, (f"-mount={tame(place.root, 80)}", more, tame(place.rest, 200))))


def _shown(place: Place) -> str:
    return f"{tame(place.path, 200)}{_within(place.namespace)}"


def _within(namespace: str) -> str:
    return f" in namespace {tame(namespace, 80)}" if namespace else ""
