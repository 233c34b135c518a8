// How a real QEMU is started that has no board, and so nothing but images and a monitor.

export const QEMU = "qemu-system-aarch64";
export const NO_BOARD: readonly string[] = ["-machine", "none", "-nodefaults", "-display", "none"];
