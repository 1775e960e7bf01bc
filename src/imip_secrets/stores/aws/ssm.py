"""AWS Systems Manager Parameter Store, with the login, the session and the transport of :mod:`.aws`."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.aws.access import AwsAccess, logged_in
from imip_secrets.stores.aws.names import ARN_START, region_of
from imip_secrets.stores.aws.ssm_batch import Batch, batches
from imip_secrets.stores.aws.ssm_check import check
from imip_secrets.stores.base import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from imip_secrets.stores.aws.errors import Refusal
    from imip_secrets.stores.aws.failure import Failure
    from imip_secrets.stores.aws.session import AwsSession
    from imip_secrets.stores.aws.ssm_batch import Outcomes
    from imip_secrets.stores.aws.ssm_errors import Parameter
    from imip_secrets.stores.base import Context, Target

__all__ = ["check", "open_store"]

_SERVICE = "ssm"
_PAGE = 10  # GetParametersByPath gives no more
_NAMES_PAGE = 50  # nor DescribeParameters
# What a thread waits for another's request, after the end of the run: that request ends by itself before.
_GRACE = 20.0


def open_store(context: Context) -> SsmStore:
    """Make the store; botocore is imported by its login, while the ID token is on its way."""
    return SsmStore(context)


class SsmStore:
    """The parameters of one identity, in all regions. See :class:`~imip_secrets.stores.base.Store`."""

    def __init__(self, context: Context) -> None:
        """Remember the context."""
        self._context = context
        self._access: AwsAccess | None = None
        self._batches: dict[Target, Batch] = {}
        self._read_ahead: dict[Target, Found] = {}
        self._lock = threading.Lock()

    def login(self) -> str:
        """Assume the role with an ID token, or take the ambient credentials; once for all stores of AWS in a run.

        Raises:
            ImipError: there is no ID token, AWS refuses it, or there are no credentials.

        """
        self._access = AwsAccess.take(self._context)
        return self._access.log_in().line

    def expect(self, targets: Sequence[Target]) -> None:
        """Plan the requests for targets that will be fetched (:class:`~imip_secrets.stores.base.Foresighted`)."""
        planned = batches(targets, self._region)
        self._batches.update({target: batch for batch in planned for target in batch.targets})

    def fetch(self, target: Target) -> Found:
        """Read one parameter, with others by one request where that was planned: ``ssm:GetParameters`` is enough.

        Raises:
            MissingError: there is no such parameter, version or label.
            StoreError: it cannot be read.

        """
        with self._lock:
            ahead = self._read_ahead.pop(target, None)
        if ahead:
            return ahead
        batch = self._batches.get(target) or Batch([target])
        outcome = batch.read(self._ask, self._context.deadline.remaining() + _GRACE).get(target)
        if outcome is None:
            outcome = self._alone(target)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give the parameters whose names go on after ``target.path``, in the order of names.

        Where that begins with a slash, ``ssm:GetParametersByPath`` gives the
        values too, which are kept for :meth:`fetch`. Other names are not below
        any path: for them ``ssm:DescribeParameters`` is needed.

        Raises:
            StoreError: the path is an ARN, or AWS does not give the list.

        """
        if target.path.startswith(ARN_START):
            what = "a listing takes the start of names, not an ARN"
            raise StoreError(what, "Write it like aws-ssm:///imip/prod/*?region=us-east-1.")
        if not target.path.startswith("/"):
            found = [target._replace(path=name) for name in sorted(set(self._described(target)))]
            found = [each for each in found if _goes_on(each.path, target.path, deep=deep)]
            self.expect(found)
            return found
        values = dict(self._below(target, deep=deep))
        names = sorted(name for name in values if _goes_on(name, target.path, deep=deep))
        ahead = {target._replace(path=name): values[name] for name in names}
        with self._lock:
            self._read_ahead.update(ahead)
        return list(ahead)

    def close(self) -> None:
        """Close every connection and forget the credentials, which end by themselves."""
        if self._access:
            self._access.give_back()

    def _below(self, target: Target, *, deep: bool) -> Iterator[tuple[str, Found]]:
        """Give every parameter below the path that the text begins with, over all pages."""
        session, parameter = self._at(target)
        path = target.path[: target.path.rindex("/")] or "/"
        asked = {"Path": path, "Recursive": deep, "WithDecryption": True, "MaxResults": _PAGE}
        ask = partial(_page, "get_parameters_by_path", asked)
        for entry in _pages(session, parameter, ask, lambda refusal: parameter.not_listed_by_path(refusal, path)):
            yield str(entry["Name"]), _found(entry)

    def _described(self, target: Target) -> Iterator[str]:
        """Give every name that begins with the text, over all pages."""
        session, parameter = self._at(target)
        begins = [{"Key": "Name", "Option": "BeginsWith", "Values": [target.path]}] if target.path else []
        asked = {"MaxResults": _NAMES_PAGE, **({"ParameterFilters": begins} if begins else {})}
        ask = partial(_page, "describe_parameters", asked)
        for entry in _pages(session, parameter, ask, parameter.not_described):
            yield str(entry["Name"])

    def _ask(self, targets: Sequence[Target]) -> Outcomes:
        """Read several by one request.

        AWS refuses all for the sake of one that may not be read: then it says
        nothing of any, and each is read alone, by its own thread.
        """
        session, parameter = self._at(targets[0])
        refused = False

        def explain(refusal: Refusal) -> Failure:
            nonlocal refused
            refused = True
            return parameter.not_read(refusal)

        try:
            return session.ask(
                _SERVICE, parameter.region, lambda client: self._get_parameters(client, targets), explain
            )
        except StoreError:
            if refused:
                return {}
            raise

    def _get_parameters(self, client: BaseClient, targets: Sequence[Target]) -> Outcomes:
        """Send the request once."""
        answer: Mapping[str, Any] = client.get_parameters(Names=[*map(_id, targets)], WithDecryption=True)
        by_name = {
            str(entry[name]): entry for entry in answer["Parameters"] for name in ("ARN", "Name") if name in entry
        }
        invalid = set(answer["InvalidParameters"])
        outcomes: Outcomes = {}
        for target in targets:
            if target.path in by_name:
                outcomes[target] = _found(by_name[target.path])
            elif _id(target) in invalid:
                outcomes[target] = self._missing(client, target)
            else:
                raise self._at(target)[1].unanswered()
        return outcomes

    def _missing(self, client: BaseClient, target: Target) -> MissingError:
        """Tell a parameter that is not there from one without the version; to know is not worth a second try."""
        parameter = self._at(target)[1]
        failure = parameter.missing()
        if target.version:
            with suppress(Exception):  # whatever it is, there is no such thing
                answer: Mapping[str, Any] = client.get_parameters(Names=[target.path], WithDecryption=False)
                failure = parameter.no_version(answer["Parameters"][0]["Version"])
        return MissingError(failure.what, failure.remedy)

    def _alone(self, target: Target) -> Found | StoreError:
        """Read one that could not be read with others; where GetParameters is denied, GetParameter may not be."""
        session, parameter = self._at(target)
        many = self._batches.get(target)
        if many and len(many.targets) > 1:
            outcome = self._ask([target]).get(target)
            if outcome:
                return outcome

        def ask(client: BaseClient) -> Found:
            answer: Mapping[str, Any] = client.get_parameter(Name=_id(target), WithDecryption=True)
            return _found(answer["Parameter"])

        return session.ask(_SERVICE, parameter.region, ask, parameter.not_read)

    def _at(self, target: Target) -> tuple[AwsSession, Parameter]:
        """Return what to ask with, and the words for what is asked."""
        from imip_secrets.stores.aws.ssm_errors import Parameter  # noqa: PLC0415  # needed by then

        session, identity = logged_in(self._access)
        return session, Parameter(target, self._region(target), identity.role, identity.account)

    def _region(self, target: Target) -> str:
        return region_of(target, self._context.settings)


def _pages(
    session: AwsSession,
    parameter: Parameter,
    ask: Callable[[Mapping[str, str], BaseClient], tuple[list[Mapping[str, Any]], str | None]],
    explain: Callable[[Refusal], Failure],
) -> Iterator[Mapping[str, Any]]:
    """Give the parameters of all pages; a page may be empty, and not be the last."""
    token: str | None = ""
    while token is not None:
        more = {"NextToken": token} if token else {}
        entries, token = session.ask(_SERVICE, parameter.region, partial(ask, more), explain)
        yield from entries


def _page(
    operation: str, asked: Mapping[str, Any], more: Mapping[str, str], client: BaseClient
) -> tuple[list[Mapping[str, Any]], str | None]:
    answer: Mapping[str, Any] = getattr(client, operation)(**asked, **more)
    return [*answer["Parameters"]], answer.get("NextToken") or None


def _id(target: Target) -> str:
    """Return the name as AWS takes it: a version or label after a colon."""
    return f"{target.path}:{target.version}" if target.version else target.path


def _found(entry: Mapping[str, Any]) -> Found:
    """Make what was found of AWS's entry; one of another form is garbled, which is the session's to say."""
    return Found(Secret(entry["Value"]), version=tame(entry["Version"], 40), changed=entry.get("LastModifiedDate"))


def _goes_on(name: str, start: str, *, deep: bool) -> bool:
    rest = name.removeprefix(start)
    return name.startswith(start) and bool(rest) and (deep or "/" not in rest)
