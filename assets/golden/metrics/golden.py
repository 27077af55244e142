#!/usr/bin/env python3
"""Makes pairs.jsonl and scores.json beside this file: BLEU, chrF and chrF++ as sacrebleu computes them.

    python golden.py CORPUS.jsonl

CORPUS holds one object a line with a `target` text; references are its first lines, hypotheses are seeded perturbations of
them, and hand-written pairs follow that ask about corners. See ../README.md for the versions used.
"""

import json
import random
import sys
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF

HERE = Path(__file__).resolve().parent
SEED = 1

# (hypothesis, reference)
CORNERS = [
    ("", ""),
    ("", "una parola"),
    ("una parola", ""),
    (" ", "uno"),
    ("\t\n", " \u3000 "),
    ("a", "a"),
    ("a", "b"),
    ("parola", "parola"),
    ("parola", "altro"),
    ("due parole", "due parole"),
    ("tre parole qui", "tre parole qui"),
    ("quattro parole sono qui", "quattro parole sono qui"),
    ("x y z", "uno due tre quattro cinque"),
    ("il il il il il il il", "il gatto è sul tappeto"),
    ("sul gatto è il tappeto", "il gatto è sul tappeto"),
    ("Il Gatto È Sul Tappeto", "il gatto è sul tappeto"),
    ("1,000.50 euro", "1,000.50 euro"),
    ("1,000.50 euro", "1.000,50 euro"),
    ("versione 2.4.1-3, del 1999-12-31.", "versione 2.4.1-3 del 1999-12-31"),
    ("pagine 10-20", "pagine 10 - 20"),
    (".5 e 5.", "0.5 e 5"),
    (",a,1,b,,2..3...", ", a , 1 , b , , 2 . . 3 . . ."),
    ("..", ".,"),
    ("a.b,c", "a . b , c"),
    ("3.a 3,a a.3 a,3", "3. a 3, a a .3 a ,3"),
    ("-1 -a 1-a a-1 1--2", "- 1 - a 1 - a a - 1 1 - - 2"),
    ("٣.٤ ١,٢ ٣-٤", "٣.٤ ١,٢ ٣-٤"),
    ("٣.٤ ١,٢ ٣-٤", "٣ . ٤ ١ , ٢ ٣ - ٤"),
    ("１,２ ３-４ ５．６", "１ , ２ ３ - ４ ５ ． ６"),
    ("&quot;ciao&quot; &amp; &lt;b&gt;", "\"ciao\" & <b>"),
    ("&amp;lt; &amp;quot; &amp;amp;", "&lt; &quot; &"),
    ("&apos; &nbsp; &#39;", "' \u00a0 '"),
    ("<skipped> testo <skipped>", "testo"),
    ("a<skipped>b", "ab"),
    ("parola-\nspezzata qui", "parolaspezzata qui"),
    ("riga uno\nriga due", "riga uno riga due"),
    ("riga uno\r\nriga due", "riga uno riga due"),
    ("finisce con -\n", "finisce con -"),
    ("tab\tqui\te\tlì", "tab qui e lì"),
    ("  spazi   molti  ", "spazi molti"),
    ("spazio\u00a0unificatore\u2003largo\u3000cinese", "spazio unificatore largo cinese"),
    ("zero\u200bwidth\u200djoiner\ufeffbom", "zerowidthjoinerbom"),
    ("separatori\x1cdi\x1dfile\x1ee\x1funità", "separatori di file e unità"),
    ("next\x85line\x0bvert\x0cfeed", "next line vert feed"),
    ("riga\u2028separata\u2029paragrafo", "riga separata paragrafo"),
    ("mongol\u180espazio", "mongol spazio"),
    ("nul\x00byte\x7fdel", "nul byte del"),
    ("«Ciao», disse “lei” – e ‘lui’…", "\"Ciao\", disse \"lei\" - e 'lui'..."),
    ("l'amico dell'amica", "l 'amico dell' amica"),
    ("can't won't", "can 't won 't"),
    ("e-mail: nome@host.it / http://x.y/z?a=1&b=2#c", "e-mail: nome@host.it/http://x.y/z?a=1&b=2"),
    ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "! \" # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~"),
    ("a!b\"c#d$e%f&g'h(i)j*k+l,m-n.o/p:q", "a ! b \" c # d $ e % f & g 'h ( i ) j * k + l , m-n . o / p : q"),
    ("a;b<c=d>e?f@g[h\\i]j^k_l`m{n|o}p~q", "a ; b < c = d > e ? f @ g [ h \\ i ] j ^ k _ l ` m { n | o } p ~ q"),
    ("(ciao)", "ciao"),
    ("(ciao) \"sì\" ...", "( ciao ) \" sì \" . . ."),
    ("fine.", "fine ."),
    ("fine.)", "fine. )"),
    ("¿qué? ¡sí!", "¿ qué ? ¡ sí !"),
    ("😀", "😀"),
    ("😀😃", "😀 😃"),
    ("bello 👍🏽 davvero 👨‍👩‍👧‍👦", "bello 👍 davvero 👨‍👩‍👧"),
    ("🇮🇹 Italia", "🇮🇹 Italia"),
    ("我喜欢自由软件。", "我喜歡自由軟件。"),
    ("我 喜欢 自由 软件 。", "我喜欢自由软件。"),
    ("日本語の文章です、はい。", "日本語の文です。はい"),
    ("한국어 문장입니다.", "한국어 문장 입니다."),
    ("Ελληνικά και русский текст", "Ελληνικά και русский текст"),
    ("النص العربي هنا، نعم.", "النص العربي هنا نعم"),
    ("หนึ่งสองสาม", "หนึ่ง สอง สาม"),
    ("perche\u0301 cosi\u0300", "perché così"),
    ("ﬁne ﬂusso ½ ²", "fine flusso 1/2 2"),
    ("ß ẞ ı İ", "ss SS i I"),
    ("a" * 200, "a" * 100),
    ("ab " * 50, "ba " * 50),
    ("uno due tre quattro cinque sei sette otto nove dieci", "uno"),
    ("uno", "uno due tre quattro cinque sei sette otto nove dieci"),
    ("uno due tre x quattro cinque sei", "uno due tre y quattro cinque sei"),
    ("a b c d e f", "a b c d e f g h i j"),
    ("a b", "a b c d"),
    ("abcdefg", "abcdefh"),
    ("abcde", "abcdefghij"),
    ("ab", "ab"),
    ("ab cd", "abcd"),
    (". , ! ?", ". , ! ?"),
    ("'", "'"),
    ("''", "'"),
    ("prova .", "prova ."),
]


def perturbed(text: str, others: list[str], rng: random.Random) -> str:
    words = text.split(" ")
    for _ in range(rng.choice([0, 1, 1, 2, 3, 5])):
        at = rng.randrange(len(words)) if words else 0
        match rng.randrange(8):
            case 0:
                del words[at : at + rng.randint(1, 3)]
            case 1:
                words.insert(at, rng.choice(rng.choice(others).split(" ")))
            case 2 if words:
                words[at] = words[at].upper() if rng.random() < 0.5 else words[at].lower()
            case 3 if len(words) > 1:
                other = rng.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            case 4 if words:
                words[at] = words[at].strip(".,;:()\"'")
            case 5 if words:
                words[at] += rng.choice([".", ",", "-2", "\u00a0", "\t", "&amp;", "!", "...", "'", "\"", "1,5"])
            case 6 if words and words[at]:
                cut = rng.randrange(len(words[at]))
                words[at] = words[at][:cut] + words[at][cut + 1 :]
            case 7 if words:
                words = words[: max(1, at)]
    return " ".join(words)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")
    targets = [json.loads(line)["target"] for line in lines if line]
    rng = random.Random(SEED)
    chosen = rng.sample(targets, 320)
    pairs = [(perturbed(target, targets, rng), target) for target in chosen[:300]]
    pairs += list(zip(chosen[300:], reversed(chosen[300:])))
    pairs += CORNERS

    bleu, sentence_bleu = BLEU(), BLEU(effective_order=True)
    chrf, chrf_plus = CHRF(), CHRF(word_order=2)

    with open(HERE / "pairs.jsonl", "w", encoding="utf-8") as out:
        for hypothesis, reference in pairs:
            row = dict(
                hypothesis=hypothesis,
                reference=reference,
                tokens=bleu.tokenizer(hypothesis.rstrip()).split(),
                bleu=sentence_bleu.sentence_score(hypothesis, [reference]).score,
                chrf=chrf.sentence_score(hypothesis, [reference]).score,
                chrf_plus_plus=chrf_plus.sentence_score(hypothesis, [reference]).score,
            )
            # ASCII only: separators and controls stay visible, and no reader splits a line at U+2028.
            out.write(json.dumps(row) + "\n")

    ends = len(pairs)
    subsets = dict(
        all=range(ends),
        real=range(300),
        mismatched=range(300, 320),
        corners=range(320, ends),
        ten=range(10),
        odd=range(1, ends, 2),
        short=[i for i, (_, reference) in enumerate(pairs) if len(reference.split()) < 4],
        empty_hypotheses=[i for i, (hypothesis, _) in enumerate(pairs) if not hypothesis.strip()],
        one_of_each=range(0, ends, 37),
        twice=[*range(20), *range(20)],
    )
    scores = dict(subsets=[])
    for name, rows in subsets.items():
        rows = list(rows)
        hypotheses = [pairs[i][0] for i in rows]
        references = [[pairs[i][1] for i in rows]]
        score = bleu.corpus_score(hypotheses, references)
        scores["subsets"].append(
            dict(
                name=name,
                rows=rows,
                bleu=score.score,
                bleu_counts=score.counts,
                bleu_totals=score.totals,
                bleu_precisions=score.precisions,
                bleu_brevity_penalty=score.bp,
                bleu_hypothesis_length=score.sys_len,
                bleu_reference_length=score.ref_len,
                chrf=chrf.corpus_score(hypotheses, references).score,
                chrf_plus_plus=chrf_plus.corpus_score(hypotheses, references).score,
            )
        )
    scores["signatures"] = dict(
        bleu=str(bleu.get_signature()),
        sentence_bleu=str(sentence_bleu.get_signature()),
        chrf=str(chrf.get_signature()),
        chrf_plus_plus=str(chrf_plus.get_signature()),
    )
    (HERE / "scores.json").write_text(json.dumps(scores) + "\n", encoding="utf-8")
    print(len(pairs), "pairs", scores["signatures"])
    for subset in scores["subsets"]:
        print(subset["name"], len(subset["rows"]), subset["bleu"], subset["chrf"], subset["chrf_plus_plus"])


if __name__ == "__main__":
    main()
