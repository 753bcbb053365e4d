// Unpacks the browser that came from npm, compressed, into `chromium/` beside `node_modules/`.
// usage: node unpack.mjs DIRECTORY
import { createReadStream, createWriteStream, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { execFileSync } from "node:child_process";

const place = process.argv[2];
const packed = join(place, "node_modules", "@sparticuz", "chromium");
const unpacked = join(place, "chromium");
mkdirSync(unpacked, { recursive: true });

const decompress = (from, to, options) =>
  pipeline(createReadStream(join(packed, "bin", from)), createBrotliDecompress(), createWriteStream(to, options));

await decompress("chromium.br", join(unpacked, "chromium"), { mode: 0o755 });
for (const archive of ["al2023", "swiftshader", "fonts"]) {
  const tar = join(unpacked, `${archive}.tar`);
  await decompress(`${archive}.tar.br`, tar);
  execFileSync("tar", ["-xf", tar, "-C", unpacked, "--no-same-owner"]);
  rmSync(tar);
}
// Its own fonts, so that pages are as wide on every machine, and are shown at all where there are none.
writeFileSync(
  join(unpacked, "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir>${resolve(unpacked, "fonts-cache")}</cachedir>
</fontconfig>
`,
);
rmSync(packed, { recursive: true });
