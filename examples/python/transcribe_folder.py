"""Write TALK.txt beside every recording of a folder, without a service; those that have one are passed over.

python transcribe_folder.py FOLDER [MODEL]
"""

import sys
from pathlib import Path

import rtstream
from rtstream.errors import AudioError

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
folder = Path(sys.argv[1])
transcriber = rtstream.load(*sys.argv[2:3])
failed = False
for recording in sorted(folder.iterdir()):
    page = recording.with_suffix(".txt")
    if recording.suffix.lower() not in SUFFIXES or page.exists():
        continue
    try:
        finals = transcriber.transcribe(recording).finals
    except AudioError as error:  # what was said before it is in the error
        print(error, file=sys.stderr)
        failed, finals = True, error.finals
    page.write_text("".join(f"[{final.start:.2f}] {final.text}\n" for final in finals if final.text), "utf-8")
    print(page)
sys.exit(failed)
