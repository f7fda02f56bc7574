"""Where the token for a server comes from, and where it is kept."""

from padre_http.tokens.file import TokenFile, default_path
from padre_http.tokens.keep import Keep, Token, keeps
from padre_http.tokens.sources import Given, Kept, Source, signed_out, source_for

__all__ = ["Given", "Keep", "Kept", "Source", "Token", "TokenFile", "default_path", "keeps", "signed_out", "source_for"]
