// What blkdebug is told to do, as QMP's BlockdevOptionsBlkdebug has it: docs/reference/corrections.md E.

import { array, bool, enumeration, int, int32, type Members, object, optional, str } from "./types.ts";

const event = enumeration(
  ...["l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table"],
  ...["l2_load", "l2_update", "l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write"],
  ...["read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed"],
  ...["vmstate_load", "vmstate_save", "cow_read", "cow_write"],
  ...["reftable_load", "reftable_grow", "reftable_update"],
  ...["refblock_load", "refblock_update", "refblock_update_part", "refblock_alloc", "refblock_alloc_hookup"],
  ...["refblock_alloc_write", "refblock_alloc_write_blocks", "refblock_alloc_write_table"],
  ...["refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free"],
  ...["flush_to_os", "flush_to_disk"],
  ...["pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail"],
  ...["pwritev", "pwritev_zero", "pwritev_done", "empty_image_prepare"],
  ...["l1_shrink_write_table", "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none"],
);

const injectError = object({
  event,
  state: optional(int),
  iotype: optional(enumeration("read", "write", "write-zeroes", "discard", "flush", "block-status")),
  errno: optional(int),
  sector: optional(int),
  once: optional(bool),
  immediately: optional(bool),
});

const setState = object({ event, state: optional(int), new_state: int });

const permission = enumeration("consistent-read", "write", "write-unchanged", "resize");

/** All members but `image`, in the order in which they are looked at. */
export const blkdebugOptions: Members = {
  config: optional(str),
  align: optional(int),
  "max-transfer": optional(int32),
  "opt-write-zero": optional(int32),
  "max-write-zero": optional(int32),
  "opt-discard": optional(int32),
  "max-discard": optional(int32),
  "inject-error": optional(array(injectError)),
  "set-state": optional(array(setState)),
  "take-child-perms": optional(array(permission)),
  "unshare-child-perms": optional(array(permission)),
};
