"""From an account's name in policy.yaml to credentials that are proved to be in that account.

AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and proxies of the environment are never used; an account without a profile takes the
credentials of the machine (environment, container, instance), and its number says whether they are the right ones.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap import __version__
from stopgap.actions import guard
from stopgap.actions.aws import errors
from stopgap.actions.aws.transport import Transport
from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from stopgap.actions.contract import Context
    from stopgap.policy.model import Account, AccountName

# Services by the prefix that IAM gives their actions: the name that permissions, the guard and messages use.
LIBRARIES = {"elasticloadbalancing": "elbv2"}
TRIES = 3  # of a read
_ACCOUNTS: dict[tuple[str, str], str] = {}  # by access key, which belongs to one account for ever, and endpoint
LONGEST_NAME = 64  # of a role's session, which CloudTrail shows


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an account: policy's entry, and the profile whose credentials are used; empty for the machine's own."""

    account: Account
    profile: str
    role: str

    def __str__(self) -> str:
        """Render for people: `account "prod" (eu-west-1)`."""
        return f'account "{self.account.name}" ({self.account.region})'

    @property
    def title(self) -> str:
        """The same at the beginning of a sentence."""
        return f"A{str(self)[1:]}"

    @property
    def source(self) -> str:
        """Whose credentials they are, for people."""
        base = f"profile {self.profile}" if self.profile else "this machine"
        return f"role {self.role} (assumed by {base})" if self.role else base


def find(context: Context, name: AccountName) -> Access:
    """Return how to reach the account; a dry run takes the read-only profile where policy names one."""
    account = context.policy.accounts.get(name)
    if account is None:
        known = ", ".join(sorted(context.policy.accounts)) or "none"
        near = difflib.get_close_matches(name, context.policy.accounts, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise PermanentError(f'policy.yaml knows no account "{name}".{hint} It knows: {known}.')
    if context.is_dry and account.read_only:
        return Access(account, account.read_only, role="")
    return Access(account, account.profile, account.role)


@dataclass(frozen=True, slots=True)
class Line:
    """A botocore client, and the transport that it sends through."""

    client: Any
    transport: Transport


def session(context: Context, access: Access) -> Any:
    """Return a botocore session whose credentials are in the account; PermanentError when they are those of another."""
    made = _session(access)
    if access.role:
        made = _assumed(made, context, access)
    _prove(made, context, access)
    return made


def line(session: Any, context: Context, access: Access, *, service: str, tries: int) -> Line:
    """Return a botocore client of a service that sends through the guarded transport, and at most `tries` times."""
    from botocore.config import Config

    mark = re.sub(r"[^\w.+/-]", "-", context.mark)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": tries},
        proxies={},
        ignore_configured_endpoint_urls=True,
        user_agent_extra=f"stopgap/{__version__} {mark}",  # CloudTrail shows it: who did this
    )
    try:
        with guard.passage():  # credentials may come from the instance, a container or a login, which botocore asks by itself
            client = session.create_client(
                LIBRARIES.get(service, service),
                region_name=access.account.region,
                endpoint_url=access.account.endpoint_url or None,
                config=config,
            )
    except Exception as error:
        raise errors.translated(errors.Request(f"{service}:*", access, may_change=False), error) from error
    transport = Transport(context, service)
    client.meta.events.register("before-send", transport)
    return Line(client, transport)


def _session(access: Access) -> Any:
    made = _empty_session(access)
    if access.profile:
        made.set_config_variable("profile", access.profile)
    try:
        with guard.passage():
            found = made.get_credentials()
    except Exception as error:
        raise errors.translated(errors.Request("sts:GetCallerIdentity", access, may_change=False), error) from error
    if found is None:
        raise PermanentError(f"There are no credentials for {access}: {access.source} has none.")
    return made


def _empty_session(access: Access) -> Any:
    import botocore.session

    account, home = access.account, Path.home() / ".aws"
    plain = {
        "profile": (None, None, None, None),
        "config_file": (None, None, str(account.config or home / "config"), None),
        "credentials_file": (None, None, str(account.credentials or home / "credentials"), None),
    }
    made = botocore.session.Session(session_vars=plain)
    made.register_component("data_loader", _models())
    return made


@functools.cache
def _models() -> Any:
    from botocore import loaders

    return loaders.Loader()  # it keeps the services' descriptions, which take longer to read than a request takes


def _assumed(base: Any, context: Context, access: Access) -> Any:
    from botocore import credentials

    sts = line(base, context, access, service="sts", tries=TRIES)

    def fetch() -> dict[str, Any]:
        try:
            found = sts.client.assume_role(RoleArn=access.role, RoleSessionName=_session_name(context.mark))["Credentials"]
        except Exception as error:
            raise errors.translated(errors.Request("sts:AssumeRole", access, may_change=False), error) from error
        keys = {"access_key": "AccessKeyId", "secret_key": "SecretAccessKey", "token": "SessionToken"}
        return {**{key: found[name] for key, name in keys.items()}, "expiry_time": found["Expiration"].isoformat()}

    class Assumed(credentials.CredentialProvider):  # type: ignore[misc]  # botocore has no types
        METHOD = "assume-role"

        def load(self) -> Any:
            return credentials.RefreshableCredentials.create_from_metadata(metadata=fetch(), refresh_using=fetch, method=self.METHOD)

    made = _empty_session(access)
    made.register_component("credential_provider", credentials.CredentialResolver([Assumed()]))
    return made


def _prove(made: Any, context: Context, access: Access) -> None:
    with guard.passage():
        key = (made.get_credentials().get_frozen_credentials().access_key, access.account.endpoint_url)
    if key not in _ACCOUNTS:
        _ACCOUNTS[key] = _account_of(made, context, access)
    if _ACCOUNTS[key] != access.account.id:
        raise PermanentError(
            f'The credentials of {access.source} are in account {_ACCOUNTS[key]}, but policy.yaml says that "{access.account.name}" is '
            f"{access.account.id}. Nothing was sent to it."
        )


def _account_of(made: Any, context: Context, access: Access) -> str:
    sts = line(made, context, access, service="sts", tries=TRIES)
    try:
        return str(sts.client.get_caller_identity()["Account"])
    except Exception as error:
        raise errors.translated(errors.Request("sts:GetCallerIdentity", access, may_change=False), error) from error
    finally:
        sts.transport.close()


def _session_name(mark: str) -> str:
    return f"stopgap-{re.sub(r'[^A-Za-z0-9_+=,.@-]', '-', mark)}"[:LONGEST_NAME]
