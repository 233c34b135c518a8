// A process that opens an image, says how that went, and holds it until its input ends or it is killed.
// Arguments: the path, `writer` or `reader`, and the program that takes QEMU's locks.
import { FileDriver } from "../../../../../src/block/drivers/file/file-driver.ts";

const [path, access, perl] = process.argv.slice(2);
try {
  const driver = await FileDriver.open({ path: path!, readOnly: access === "reader" }, { perl: perl! });
  process.stdout.write(`held ${driver.lockKind}\n`);
  await new Promise((resolve) => process.stdin.once("end", resolve).resume());
  await driver.close();
} catch (error) {
  process.stdout.write(`refused ${String(error)}\n`);
}
