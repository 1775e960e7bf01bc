"""botocore, set up for a run: fast to start, led by our settings alone, sent by our transport."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.session import Session

from imip_secrets import __version__
from imip_secrets.errors import ImipError
from imip_secrets.foreign import tame
from imip_secrets.stores.aws.errors import EXPIRED, Refusal
from imip_secrets.stores.aws.failure import Failure, Patience
from imip_secrets.stores.aws.services import SERVICES
from imip_secrets.stores.aws.transport import Transport, trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.client import BaseClient
    from botocore.credentials import Credentials

    from imip_secrets.stores.base import Context

T = TypeVar("T")


class _Models(Loader):  # type: ignore[misc]  # botocore ships no types
    """Reads the models of our services alone, where botocore looks through those of all of AWS.

    They are those that botocore brings, never those of ``~/.aws/models`` or AWS_DATA_PATH: a rule set from there could
    send the ID token anywhere.

    Of ``endpoints.json`` (1.2 MB) nothing is left that our services need: each has a rule set of its own that
    gives its address for every region. A test compares the addresses with those of an untouched botocore.
    ``docs/decisions/0005-botocore.md`` has the times.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[self.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # the signature is botocore's
        return list(SERVICES)

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == "endpoints":
            return {"version": 3, "partitions": []}, self.BUILTIN_DATA_PATH
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found


class AwsSession:
    """One run's clients; safe for many threads once it is logged in.

    Args:
        context: What the core gives; its settings are checked.

    Raises:
        StoreError: the certificates to trust cannot be used.

    """

    def __init__(self, context: Context) -> None:
        """Set botocore up, without network."""
        settings = context.settings
        self._ambient = context.ambient
        self._endpoint = settings["aws-endpoint-url"] or None
        self._session = Session()
        self._session.register_component("data_loader", _Models())
        if settings["aws-region"]:
            # Where the ambient chain exchanges a web identity.
            self._session.set_config_variable("region", settings["aws-region"])
        plain = (self._endpoint or "").startswith("http://")
        tls = None if plain else trust(settings["ca-certificate"], self._ca_bundle())
        self._transport = Transport(tls, context.deadline)
        self._session.register("before-send", self._transport.send)
        self._patience = Patience(context.deadline, context.notice)
        self._clients: dict[tuple[str, str], BaseClient] = {}
        self._lock = threading.Lock()
        self.credentials: Credentials | None = None
        self._renewing = threading.Lock()
        self._logins = 0
        self.log_in_anew: Callable[[], object] | None = None

    def _ca_bundle(self) -> str | None:
        """Return the file of authorities that the environment names, where the environment counts."""
        if not self._ambient:
            return None
        bundle: str | None = self._session.get_config_variable("ca_bundle")
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE")

    def client(self, service: str, region: str) -> BaseClient:
        """Return the one client of a service in a region; before the login, one that signs nothing."""
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._make(service, region)
            return self._clients[key]

    def _make(self, service: str, region: str) -> BaseClient:
        keys = self.credentials.get_frozen_credentials() if self.credentials else None
        config = Config(
            # Every retry is ours: botocore's sleeps know no deadline.
            retries={"mode": "standard", "total_max_attempts": 1},
            ignore_configured_endpoint_urls=not self._ambient,
            user_agent_extra=f"imip-secrets/{__version__}",
            signature_version=None if keys else UNSIGNED,
        )
        try:
            return self._session.create_client(
                service,
                region_name=region,
                endpoint_url=self._endpoint,
                aws_access_key_id=keys.access_key if keys else None,
                aws_secret_access_key=keys.secret_key if keys else None,
                aws_session_token=keys.token if keys else None,
                config=config,
            )
        except ValueError as error:
            # An address that is none; it knows nothing but its settings so far.
            failure = unfit(error)
        raise failure

    def ambient_credentials(self) -> Credentials | None:
        """Return what botocore's own chain finds, ready for use, or None where it finds nothing."""
        try:
            credentials = self._session.get_credentials()
            if credentials is not None:
                credentials.get_frozen_credentials()
        except OSError as error:
            what = f"a file that the AWS settings of this machine name cannot be read ({tame(error, 200)})"
        except ValueError as error:
            # Its text may hold a part of what was answered.
            what = f"what the AWS settings of this machine name gives no credentials ({type(error).__name__})"
        else:
            return credentials
        raise Failure(what, f"Correct what is wrong{_those_set()}, or give the input aws-role-to-assume.")

    def ask(
        self, service: str, region: str, ask: Callable[[BaseClient], T], explain: Callable[[Refusal], Failure]
    ) -> T:
        """Return what ``ask`` makes of a service's client; try again what may pass, log in anew when a session ends.

        Args:
            service: The service, as botocore calls it.
            region: Where.
            ask: One try: it calls the client that it is given, another after a new login, and may raise ``Failure``.
            explain: Says what a refusal of the service means.

        Raises:
            StoreError: the last failure.

        """
        return self._patience.insist(lambda: self._try(lambda: ask(self.client(service, region)), explain))

    def log_in(self, ask: Callable[[], T], explain: Callable[[Refusal], Failure]) -> T:
        """Do what :meth:`ask` does, for a login: no session can end while there is none.

        Raises:
            StoreError: the last failure.

        """
        return self._patience.insist(lambda: _once(ask, explain))

    def _try(self, ask: Callable[[], T], explain: Callable[[Refusal], Failure]) -> T:
        """Try once, or twice when there is a new login in between."""
        refused: list[str] = []

        def told(refusal: Refusal) -> Failure:
            refused.append(refusal.code)
            return explain(refusal)

        before = self._logins
        try:
            return _once(ask, told)
        except Failure:
            if not EXPIRED.intersection(refused) or not self._renew(before):
                raise
        return _once(ask, explain)

    def _renew(self, before: int) -> bool:
        """Log in anew, once in a run and for all threads; tell whether there is another login than the one before."""
        with self._renewing:
            if self._logins != before:
                return True
            log_in, self.log_in_anew = self.log_in_anew, None
            if log_in is None:
                return False
            try:
                log_in()
            except ImipError:
                # What is wrong is that the session is over, and that is what is said.
                return False
            with self._lock:
                # That of STS signs nothing.
                self._clients = {key: client for key, client in self._clients.items() if key[0] == "sts"}
            self._logins += 1
            return True

    def close(self) -> None:
        """Close every connection and forget the credentials."""
        self._transport.close()
        self._clients.clear()
        self.credentials = None
        self.log_in_anew = None


def _once(ask: Callable[[], T], explain: Callable[[Refusal], Failure]) -> T:
    """Try once; whatever botocore raises becomes a ``Failure`` that holds none of it."""
    try:
        return ask()
    except Failure as failed:
        failure = failed
    except ImipError:
        # There is no further ID token.
        raise
    except ClientError as error:
        refusal = Refusal.of(error.response)
        failure = refusal.common() or explain(refusal)
    except BotoCoreError as error:
        failure = unfit(error)
    except Exception:  # noqa: BLE001  # botocore's parsers raise whatever an answer of the wrong form leads them to
        failure = garbled()
    raise failure


def unfit(error: Exception) -> Failure:
    """Make the failure for what the SDK has against its settings, which may be the environment's."""
    what = f"the AWS SDK could not make the request ({type(error).__name__}: {tame(error, 200)})"
    return Failure(what, f"Check the AWS settings of this machine{_those_set()}.")


def _those_set() -> str:
    """Name the variables of AWS that are set here, for who looks for a wrong one."""
    names = sorted(name for name in os.environ if name.startswith("AWS_") and os.environ[name] != os.devnull)
    return f" ({tame(', '.join(names), 400)})" if names else ""


def garbled() -> Failure:
    """Make the failure for an answer that is not of AWS's form; its text may hold anything, so none of it is shown."""
    remedy = "Check what answers there: a proxy, or the input aws-endpoint-url."
    return Failure("the answer is not of AWS's form, or is not whole", remedy, tries=2)
