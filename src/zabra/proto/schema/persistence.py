"""IDL module ``server.persistence``: the header of log and snapshot files."""

from zabra.proto.schema.types import Record, int_, long_


class FileHeader(Record):
    magic: int_
    version: int_
    dbid: long_
