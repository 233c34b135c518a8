// The event index: whether a move of a ring index passes the index at which the other side wants to hear of it.

/**
 * True when an index that moves from `from` to `to` fills slot `event`, all modulo 2^16. VIRTIO 1.4 §2.7.7.2 and §2.7.10 speak of
 * one step, that is of equality; a batch passes several indices at once.
 */
export function passesEvent(event: number, to: number, from: number): boolean {
  return ((to - event - 1) & 0xffff) < ((to - from) & 0xffff);
}
