"""Kafka's errors in the operator's words: what is wrong, with what, and what to do about it. One place for all of them.

An error of a network or of the client library says little by itself; what it means follows from the settings: a broker
that closes the connection at once has been spoken to in clear where it wants TLS, or without a password.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator

from aiokafka import errors as kafka

from connectors.broker import BrokerError
from connectors.settings import KafkaSettings

APPLY_ACLS = "`tollgate topics create --acls` grants it"


class Unusable(BrokerError):
    """The cluster can't be used like this, and trying again would not help: the text names the thing and the remedy."""


NOT_AUTHORIZED: tuple[type[Exception], ...] = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
)
LASTING: tuple[type[Exception], ...] = (
    *NOT_AUTHORIZED,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationFailedError,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
    kafka.SecurityDisabled,
    kafka.InvalidTransactionTimeout,
    kafka.InvalidSessionTimeoutError,
    kafka.InvalidTimestampError,
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTopicError,
    kafka.UnsupportedVersionError,
    kafka.IncompatibleBrokerVersion,
    kafka.UnsupportedForMessageFormatError,
    ssl.SSLCertVerificationError,
)
"""What another try will not mend: a setting, a right or the cluster itself must be changed first."""


def is_lasting(error: BaseException) -> bool:
    """Whether the error stays however often one tries: settings, rights, versions."""
    return any(isinstance(cause, LASTING) for cause in _causes(error))


def explain(error: BaseException, settings: KafkaSettings, *, address: str | None = None, doing: str = "") -> str:
    """One sentence of what is wrong and what to do.

    `address` is the broker's if known, else those of `bootstrap_servers`; `doing` is what was asked of it, as in
    "write to rated-cdrs", for errors that do not say so themselves.
    """
    where = address or ", ".join(settings.bootstrap_servers)
    causes = tuple(_causes(error))
    for cause in causes:
        for kind in (_rights, _login, _tls, _network, _cluster):
            text = kind(cause, settings, where, doing)
            if text is not None:
                return text
    return f"Kafka at {where}: {_plain(error)}" + (f" ({doing})" if doing else "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the origin first: there the reason stands."""
    chain = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        chain.append(at)
        seen.add(id(at))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return reversed(chain)


def _plain(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, BrokerError) and text:
        return text  # it has been put into words already
    name = type(error).__name__
    return text if name in text else f"{name}: {text}" if text else name


# -- kinds of errors --------------------------------------------------------------------------------------------------


def _rights(error: BaseException, settings: KafkaSettings, where: str, doing: str) -> str | None:
    who = f"user {settings.username!r}" if settings.uses_sasl else "this client"
    named = ", ".join(str(argument) for argument in error.args)
    match error:
        case kafka.TopicAuthorizationFailedError():
            what = doing or f"use the topic {named}".rstrip()
        case kafka.GroupAuthorizationFailedError():
            what = doing or f"join the group {named or settings.application}"
        case kafka.TransactionalIdAuthorizationFailed():
            what = doing or f"use transactional ids that begin with {settings.application!r}"
        case kafka.ClusterAuthorizationFailedError():
            return (
                f"Kafka at {where}: {who} is not allowed to {doing or 'administer the cluster'}; "
                "use an administrator's user and password for this command"
            )
        case kafka.SecurityDisabled():
            return (
                f"Kafka at {where} has no authorizer, so access rights mean nothing there; "
                "set authorizer.class.name on the brokers, or leave out --acls"
            )
        case _:
            return None
    return f"Kafka at {where}: {who} is not allowed to {what}; {APPLY_ACLS}"


def _login(error: BaseException, settings: KafkaSettings, where: str, doing: str) -> str | None:
    match error:
        case kafka.SaslAuthenticationFailed() | kafka.AuthenticationFailedError():
            return (
                f"Kafka at {where} does not let user {settings.username!r} in: wrong password, or no such user "
                f"for {settings.sasl_mechanism}; correct username, password and sasl_mechanism"
            )
        case kafka.UnsupportedSaslMechanismError():
            return (
                f"Kafka at {where} does not know sasl_mechanism {settings.sasl_mechanism}; try another of "
                "SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"
            )
        case kafka.IllegalSaslStateError():
            return (
                f"Kafka at {where} asks for no password on this port; set security_protocol to "
                f"{'SSL' if settings.uses_tls else 'PLAINTEXT'}, or take the port that does"
            )
        case _:
            return None


def _tls(error: BaseException, settings: KafkaSettings, where: str, doing: str) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            if "match" in error.verify_message or "not valid for" in error.verify_message:
                return (
                    f"Kafka at {where}: its certificate is for another address ({error.verify_message}); "
                    "use the name in the certificate, or set ssl_check_hostname to false"
                )
            if "expired" in error.verify_message or "not yet valid" in error.verify_message:
                return f"Kafka at {where}: its certificate is out of date ({error.verify_message}); renew it there"
            by = settings.ssl_ca_file or "an authority that this system knows"
            return (
                f"Kafka at {where}: its certificate is not signed by {by} ({error.verify_message}); "
                "set ssl_ca_file to the certificate of who signed it"
            )
        case ssl.SSLError() if "CERTIFICATE" in (error.reason or "") or "HANDSHAKE_FAILURE" in (error.reason or ""):
            return (
                f"Kafka at {where} does not accept this client's certificate ({_words(error)}); "
                "set ssl_cert_file and ssl_key_file to a pair that it trusts"
            )
        case ssl.SSLError():
            return (
                f"Kafka at {where} does not speak TLS on this port ({_words(error)}); set security_protocol to "
                f"{'SASL_PLAINTEXT' if settings.uses_sasl else 'PLAINTEXT'}, or take the port that does"
            )
        case _:
            return None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _network(error: BaseException, settings: KafkaSettings, where: str, doing: str) -> str | None:
    match error:
        case socket.gaierror():
            return f"there is no host by the name in {where}; correct bootstrap_servers"
        case asyncio.IncompleteReadError():
            return _hung_up(error, settings, where)
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return _hung_up(None, settings, where)
        case TimeoutError() | kafka.RequestTimedOutError() | kafka.KafkaTimeoutError():
            return (
                f"nothing answers at {where} in time" + (f" ({doing})" if doing else "") + "; is it a Kafka broker, "
                f"and is security_protocol {settings.security_protocol} what it speaks there?"
            )
        case OSError() if _refused(error):
            return f"nothing listens at {where}: the connection was refused; start Kafka or correct bootstrap_servers"
        case OSError() if error.errno is not None or "Errno" in str(error):
            return f"{where} can't be reached: {error.strerror or error}; correct bootstrap_servers or the network"
        case _:
            return None


def _refused(error: OSError) -> bool:
    # A name with several addresses gives one error with all of theirs in its text.
    return error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)


def _hung_up(error: asyncio.IncompleteReadError | None, settings: KafkaSettings, where: str) -> str:
    """The broker closes a connection on which it is spoken to in the wrong way."""
    if settings.uses_tls and error is None:
        why = "it may not speak TLS on this port; correct security_protocol or the port"
    elif settings.uses_tls:
        # TLS has been agreed on: the first request was one too many.
        password = "" if settings.uses_sasl else "a password (security_protocol SASL_SSL) or "
        why = f"it may want {password}this client's certificate (ssl_cert_file and ssl_key_file)"
    elif error is not None and error.expected is not None and error.expected >> 24 in (0x15, 0x16):
        # What was read as a length is the head of a TLS record.
        return (
            f"Kafka at {where} speaks TLS on this port; set security_protocol to "
            f"{'SASL_SSL' if settings.uses_sasl else 'SSL or SASL_SSL'}"
        )
    elif settings.uses_sasl:
        why = "it may want TLS; set security_protocol to SASL_SSL"
    else:
        why = "it may want a password or TLS; set security_protocol to SASL_SSL, SASL_PLAINTEXT or SSL"
    return f"{where} closed the connection at once: {why}"


def _cluster(error: BaseException, settings: KafkaSettings, where: str, doing: str) -> str | None:
    named = ", ".join(str(argument) for argument in error.args)
    match error:
        case kafka.UnknownTopicOrPartitionError():
            return f"Kafka at {where} has no topic {named or doing}; `tollgate topics create` makes what is missing"
        case kafka.InvalidReplicationFactorError():
            return (
                f"Kafka at {where} has too few brokers for replication_factor {settings.replication_factor}; "
                "lower it (and min_insync_replicas), or start more brokers"
            )
        case kafka.NotEnoughReplicasError() | kafka.NotEnoughReplicasAfterAppendError():
            return (
                f"Kafka at {where}: fewer copies are up than min.insync.replicas asks for, so nothing can be written; "
                "bring the brokers back"
            )
        case kafka.InvalidTransactionTimeout():
            return (
                f"Kafka at {where} does not allow transaction_timeout_ms {settings.transaction_timeout_ms}; "
                "lower it, or raise transaction.max.timeout.ms on the brokers"
            )
        case kafka.InvalidSessionTimeoutError():
            return (
                f"Kafka at {where} does not allow session_timeout_ms {settings.session_timeout_ms}; it must lie "
                "between group.min.session.timeout.ms and group.max.session.timeout.ms of the brokers"
            )
        case kafka.MessageSizeTooLargeError() | kafka.RecordListTooLargeError():
            return (
                f"Kafka at {where}: a record is larger than {doing or 'its topic'} allows; `tollgate topics check` "
                "says where max.message.bytes is too small"
            )
        case kafka.InvalidTimestampError():
            return (
                f"Kafka at {where} refuses a record's time as too far ahead of its own; `tollgate topics check` says "
                "where message.timestamp.after.max.ms is too small, else set the clocks"
            )
        case kafka.PolicyViolationError():
            return f"Kafka at {where} forbids it by a policy of its own: {named}"
        case kafka.InvalidConfigurationError() | kafka.InvalidTopicError() | kafka.InvalidPartitionsError():
            return f"Kafka at {where} refuses to {doing or 'do it'}: {named}"
        case kafka.UnsupportedVersionError() | kafka.IncompatibleBrokerVersion() | NotImplementedError():
            return f"Kafka at {where} is too old; version 2.8 or newer is needed"
        case kafka.KafkaStorageError():
            return f"Kafka at {where} can't write to its disk; free space or mend it there"
        case kafka.GroupCoordinatorNotAvailableError() | kafka.GroupLoadInProgressError():
            return (
                f"Kafka at {where} has no coordinator for groups or transactions: it may be starting; if it stays "
                "so, `tollgate topics check` says what hinders it"
            )
        case kafka.UnknownError():
            return (
                f"Kafka at {where} refuses to {doing or 'do it'} for a reason that this client does not know; "
                "its log says which"
            )
        case kafka.NodeNotReadyError() | kafka.KafkaConnectionError() | kafka.NoBrokersAvailable():
            return f"the connection to Kafka at {where} was lost; it is tried again as long as the process runs"
        case _:
            return None
