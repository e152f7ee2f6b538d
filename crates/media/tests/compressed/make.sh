#!/usr/bin/env bash
# Makes the files beside it from a tone of its own: 440 Hz for 300 ms, then 1000 Hz for 300 ms, at
# -6 dBFS. Needs flac, lame and vorbis-tools; run it only to change them, the tests need none of these.
set -euo pipefail
cd "$(dirname "$0")"
wav() { # rate, channels
  python3 - "$1" "$2" <<'PY'
import math, struct, sys, wave
rate, channels = int(sys.argv[1]), int(sys.argv[2])
with wave.open("tones.wav", "wb") as out:
    out.setparams((channels, 2, rate, 0, "NONE", ""))
    phase = 0.0
    for n in range(rate * 600 // 1000):
        phase += 2 * math.pi * (440 if n < rate * 300 // 1000 else 1000) / rate
        # Only the left one of two channels has a sound: what is mixed down has half of it.
        sample = struct.pack("<h", round(16384 * math.sin(phase)))
        out.writeframes(sample + b"\0\0" * (channels - 1))
PY
}
wav 16000 1
flac -s -f --no-padding tones.wav -o mono16k.flac
flac -s -f --no-padding --ogg --serial-number=1 tones.wav -o mono16k.oga
oggenc -Q -s 1 tones.wav -o mono16k.ogg
lame --quiet -t -b 32 tones.wav untagged16k.mp3
lame --quiet -b 32 tones.wav mono16k.mp3
lame --quiet -V 5 --tt "a title" --id3v2-only tones.wav titled16k.mp3
wav 44100 2
flac -s -f --no-padding tones.wav -o stereo44k.flac
oggenc -Q -s 1 -q 2 tones.wav -o stereo44k.ogg
lame --quiet -m s -b 64 tones.wav stereo44k.mp3
rm tones.wav
