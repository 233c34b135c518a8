// Where a sparse image file has nothing: lseek(2) with SEEK_DATA and SEEK_HOLE, which QEMU's file driver goes by too.

import { tracePoint } from "../../../base/trace.ts";
import { failedWith, type PerlOptions, runPerl } from "./one-shot-perl.ts";

/** More than this many are not looked for: what is behind them counts as data. Each takes up to 40 characters on its way. */
const MAX_HOLES = 65_536;
const MAX_OUTPUT_CHARACTERS = 40 * MAX_HOLES;

/** Arguments: the file's length, the most holes, how many seconds to wait before. `SEEK_DATA` is 3 and fails with ENXIO behind the last data, `SEEK_HOLE` is 4. */
const SCRIPT = `
open(my $image, "<&=", 3) or exit 1;
my ($length, $left, $pause) = @ARGV;
select(undef, undef, undef, $pause) if $pause;
my $at = 0;
while ($at < $length && $left-- > 0) {
  my $data = sysseek($image, $at, 3);
  last unless defined $data || ${failedWith("ENXIO")};
  $data = $length unless defined $data;
  printf "%d %d\\n", $at, $data if $data > $at;
  last if $data >= $length;
  my $hole = sysseek($image, $data, 4);
  last unless defined $hole && $hole > $data;
  $at = $hole;
}
print "end\\n";
`;

/** One hole, in bytes. */
export interface ImageHole {
  readonly start: number;
  readonly end: number;
}

const imageHolesUnknown = tracePoint("image_holes_unknown");

/**
 * The holes of the file behind `fd`, in their order. None where the system does not tell: then all is data. The caller
 * sees to it that nobody else fills them, or that it is noticed. `pauseMs` from now the file is looked at.
 */
export async function findHoles(
  fd: number,
  lengthBytes: number,
  options: PerlOptions & { readonly pauseMs: number },
): Promise<ImageHole[]> {
  const limits = { ...options, maxOutputCharacters: MAX_OUTPUT_CHARACTERS };
  const output = await runPerl(SCRIPT, [fd], [lengthBytes, MAX_HOLES, options.pauseMs / 1000].map(String), limits);
  const lines = output.split("\n");
  if (lines.at(-2) !== "end") {
    if (imageHolesUnknown.enabled) imageHolesUnknown.emit({ reason: output.slice(0, 100) });
    return [];
  }
  return lines.slice(0, -2).map((line) => {
    const [start, end] = line.split(" ").map(Number);
    return { start: start!, end: Math.min(end!, lengthBytes) };
  });
}
