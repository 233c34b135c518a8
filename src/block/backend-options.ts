// What a backend is told when it is made, and when a device gets it.

import type { BlockNode } from "./node.ts";
import type { Permissions } from "./permissions.ts";

/** A device on a backend, as far as the block layer names it and lets others in beside it. */
export interface BackendDevice {
  /** As users gave it (`-device id=`). */
  readonly id: string | undefined;
  /** Where it stands among the machine's devices, `/machine/peripheral-anon/device[0]`; its name where it has no id. */
  readonly path: string;
  /** Others may write to the node while the device does. */
  readonly shareRw: boolean;
}

export interface BlockBackendOptions {
  /** The drive's id; "" for the backend of a device on a node, or of one command. */
  readonly name: string;
  /** Undefined for a drive without a medium. */
  readonly node?: BlockNode | undefined;
  readonly readOnly?: boolean;
  readonly writeCache?: boolean;
  /** Of its user while there is no device; by default reading, writing unless read-only, and minding nobody. */
  readonly permissions?: Permissions;
}
