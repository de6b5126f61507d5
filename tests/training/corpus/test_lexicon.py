import gzip
import json
import lzma

from rtstream.training.corpus.lexicon import main


def test_the_list_has_the_words_of_texts_whose_licence_is_free(tmp_path):
    text, audio = tmp_path / "text", tmp_path / "audio"
    text.mkdir()
    audio.mkdir()
    pairs = ["We can't go.\tx\ttatoeba-manythings", "Halls of orcs\tx\twesnoth", "Both\tx\ttatoeba-a,multi30k"]
    with gzip.open(text / "pairs-en-xx.train.tsv.gz", "wt") as file:
        file.write("".join(f"{pair}\n" for pair in pairs))
    with gzip.open(text / "english-commonvoice.txt.gz", "wt") as file:
        file.write("Big elephants, xq!\n")
    for name in ("train-librispeech", "train-ljspeech"):
        (audio / f"{name}.jsonl").write_text(json.dumps({"text": "the moon"}) + "\n")
    main(str(tmp_path), str(tmp_path / "list.xz"))
    words = lzma.decompress((tmp_path / "list.xz").read_bytes()).decode().split()
    assert words == sorted(words)
    assert {"can't", "elephants", "moon", "up"} <= set(words)
    assert not {"orcs", "both", "xq"} & set(words)
