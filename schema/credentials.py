"""Credentials stay out of all that is printed or stored: no address may carry any, and no text repeats a known one.

They belong in the environment (`AWS_…`) or in the store's own file (`~/.aws/credentials`), where each process finds
them for itself.
"""

import os
import re

from schema.errors import ConfigError

HIDDEN = "***"
_LOCAL = {"file", "local", "memory"}
_NAMES_USERS = {"sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "abfs", "abfss"}
"""Addresses where a bare name before the @ is a user or a container, and no token."""
_LINK = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_WITH_COLON = r"(?!arn:)[^\s/@:'\"]*:(?!\d+(?:/|$))[^\s@'\"]*@"
"""What stands before the @ with a colon in it, but no port; a secret key may hold a slash."""
_BARE = re.compile(r"[^/@:]+@")
_QUERY = re.compile(r"[?&][^=/?&]+=")

_SECRET_NAME = re.compile(r"(?:SECRET|TOKEN|PASSWORD|KEY|KEY_ID|CONNECTION_STRING)$", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value of such a variable is a word like any other."""
_IN_ADDRESS = re.compile(rf"(?<=://){_WITH_COLON}")
_NAMED = re.compile(
    r"""((?:\b(?:x-amz-(?:signature|credential)|credential|signature|sig|awsaccesskeyid|\w*(?:password|secret|token)"""
    r"""|(?:\w+[_-])?(?:secret|access|account|api)[_-]?key)=)|\bx-amz-security-token[=:]\s*|\bbearer\s+"""
    r"""|<(?:awsaccesskeyid|stringtosign|canonicalrequest|signatureprovided)>)[^\s&'"<>;,]{4,}""",
    re.IGNORECASE,
)
"""A value by its name: of signed addresses, of headers, and of what a store repeats when it refuses a signature."""


def check_address(uri: str) -> None:
    """ConfigError where a URI carries a password, a token or a query; a query may sign a whole request."""
    for link in uri.split("::"):
        found = _LINK.fullmatch(link)
        if found is None or found["scheme"].lower() in _LOCAL:
            continue
        user = re.match(_WITH_COLON, found["rest"])
        if user is None and found["scheme"].lower() not in _NAMES_USERS:
            user = _BARE.match(found["rest"])
        rest = found["rest"][user.end() :] if user else found["rest"]
        query = _QUERY.search(rest)
        if user is None and query is None:
            continue
        what = "credentials before the @" if user else "a query, as signed addresses have"
        place = (f"{HIDDEN}@" if user else "") + (f"{rest[: query.start()]}?{HIDDEN}" if query else rest)
        raise ConfigError(
            f"found {what} in an address, which would be kept in the lake and shown by `ps`; expected only the place: "
            "put credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …) or ~/.aws/credentials; "
            f"{found['scheme']}://{place}"
        )


def masked(text: str) -> str:
    """The text with *** for every credential: the environment's own, and what stands where one is written."""
    secrets = {value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _NAMED.sub(rf"\1{HIDDEN}", _IN_ADDRESS.sub(f"{HIDDEN}@", text))
