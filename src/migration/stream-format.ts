// The numbers of QEMU's migration stream: docs/reference/migration-stream.md §1, §2, persistence-migration.md §5.2.

export const STREAM_MAGIC = 0x5145564d; // "QEVM"
export const STREAM_VERSION = 3;
/** Refused by a text of its own. */
export const OBSOLETE_STREAM_VERSION = 2;

/** What begins with a byte of this, at the top level. */
export const SECTION_EOF = 0x00;
export const SECTION_START = 0x01;
export const SECTION_PART = 0x02;
export const SECTION_END = 0x03;
export const SECTION_FULL = 0x04;
export const SECTION_SUBSECTION = 0x05;
export const SECTION_VMDESC = 0x06;
export const SECTION_CONFIGURATION = 0x07;
export const SECTION_COMMAND = 0x08;
export const SECTION_FOOTER = 0x7e;

export const CMD_OPEN_RETURN_PATH = 1;
export const CMD_PING = 2;
export const CMD_POSTCOPY_ADVISE = 3;
export const CMD_POSTCOPY_LISTEN = 4;
export const CMD_POSTCOPY_RUN = 5;
export const CMD_PACKAGED = 7;
export const CMD_SWITCHOVER_START = 11;

/** Messages from the destination back to the source: §2.1. */
export const RP_SHUT = 1;
export const RP_PONG = 2;

/** Flags of the `ram` section's words. */
export const RAM_MEM_SIZE = 0x04;
export const RAM_EOS = 0x10;
/** A word of `ram` is an address with the flags in the bits below a page of the bare machine. */
export const RAM_FLAGS_MASK = 0x3ff;

/** Flags of a chunk of the `dirty-bitmap` section. */
export const BITMAP_EOS = 0x01;
export const BITMAP_ZEROES = 0x02;
export const BITMAP_NAME = 0x04;
export const BITMAP_DEVICE_NAME = 0x08;
export const BITMAP_START = 0x10;
export const BITMAP_COMPLETE = 0x20;
export const BITMAP_BITS = 0x40;
/** More flags follow: nobody sends that, and nobody reads it. */
export const BITMAP_LONG_FLAGS = 0x80;

/** Flags of a bitmap in its START chunk. */
export const BITMAP_ENABLED = 0x01;
export const BITMAP_PERSISTENT = 0x02;
export const BITMAP_RESERVED_FLAGS = 0xf8;

/** Bits in a BITS chunk but the last one of a bitmap. */
export const CHUNK_GROUPS = 8192;
/** The words of a chunk are filled up with zeroes to a multiple of this many bytes. */
export const CHUNK_ALIGN_BYTES = 32;
/** The longest buffer of a BITS chunk that is read. */
export const MAX_CHUNK_BYTES = 10240;
export const SECTOR_BYTES = 512;

/** The field in which `globalstate` has the name of the run state. */
export const RUN_STATE_FIELD_BYTES = 100;

/** Section ids are any numbers; these are the ones that QEMU 7.2 gives a machine without devices. */
export const TIMER_SECTION_ID = 0;
export const RAM_SECTION_ID = 2;
export const BITMAP_SECTION_ID = 3;
export const GLOBAL_STATE_SECTION_ID = 4;

export const TIMER_VERSION = 2;
export const RAM_VERSION = 4;
export const BITMAP_VERSION = 1;
export const GLOBAL_STATE_VERSION = 1;
