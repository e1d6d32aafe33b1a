"""Answers in which the model speaks for itself instead of writing down what was said. Pure.

Somebody may well say "I'm sorry, I can't hear you": only what a speaker hardly says is matched,
a whole short answer that begins with it, and `tasks.doubts` asks for more evidence.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 400
"""Characters; a refusal is short, and a longer answer says something else, too."""

_SORRY = (
    r"(?:(?:i'?m|i am) (?:very |so |really |truly )?sorry|sorry|(?:my )?apologies|i apologi[sz]e"
    r"|i regret|unfortunately)"
)
_AS_AI = (
    r"as an? (?:ai|artificial|text|language|large)\b[^.]{0,60}?|i(?:'m| am) (?:just |only )?an? "
    r"(?:ai|artificial|text|language|large)\b[^.]{0,60}?"
)
_UNABLE = (
    r"(?:can ?not|can'?t|(?:am|'m) (?:currently |not able|unable|not capable)[ \w]{0,12}"
    r"|(?:do not|don'?t) (?:have|currently have) (?:the )?(?:ability|capability|capacity|access)"
    r"|(?:am|'m) not (?:able|designed|equipped))"
)
_VERB = (
    r"(?:listen|hear|process|access|transcrib|translat|analy[sz]|interpret|understand|play"
    r"|assist|help|provid|perform|handle)"
)
_AUDIO = r"(?:audio|recording|sound|speech|voice|transcri|spoken|that request|this request)"

PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # English: "I'm sorry, but as an AI I can't listen to audio files."
        rf"(?:{_SORRY}[ ,.;:!]*)?(?:but |that )?(?:{_AS_AI}[ ,.;:!]*)?(?:and |but |so )?"
        rf"(?:i ?)?{_UNABLE}\b.{{0,30}}?\b{_VERB}.{{0,60}}?\b{_AUDIO}",
        rf"(?:{_AS_AI}).{{0,60}}?{_UNABLE}",
        rf"(?:{_SORRY}[ ,.;:!]*)?(?:but )?(?:it (?:seems|looks|appears)(?: like| that)? )?"
        r"(?:there (?:is|was) no|no|the) audio(?: clip| file| recording)?(?: (?:is|was|has been))?"
        r"(?: not| n't)?(?: been)? (?:provided|attached|uploaded|given|included)",
        r"(?:sure[ ,.!]*|of course[ ,.!]*)?please (?:provide|upload|share|attach|send)(?: me)?"
        r"(?: with)? (?:the|an|your) (?:audio|recording|transcript)",
        # German, French, Spanish, Italian, Portuguese
        r"(?:es tut mir leid|tut mir leid|entschuldigung|leider)\b.{0,40}\bkann\b.{0,60}"
        r"(?:audio|aufnahme|transkri|sprach)",
        r"(?:je suis désolée?|désolée?|malheureusement)\b.{0,40}\bne (?:peux|suis)\b.{0,60}"
        r"(?:audio|enregistrement|transcri)",
        r"(?:lo siento|lamentablemente|perdón|disculpa)\b.{0,40}\bno (?:puedo|tengo)\b.{0,60}"
        r"(?:audio|grabaci|transcri)",
        r"(?:mi dispiace|purtroppo)\b.{0,40}\bnon (?:posso|sono)\b.{0,60}"
        r"(?:audio|registrazion|trascri)",
        r"(?:desculpe|sinto muito|lamento|infelizmente)\b.{0,40}\bnão (?:posso|consigo|sou)\b"
        r".{0,60}(?:áudio|gravaç|transcre)",
        # Chinese and Japanese
        r"(?:很|非常)?(?:抱歉|对不起|對不起).{0,20}(?:无法|無法|不能|没有办法).{0,20}"
        r"(?:音频|音頻|录音|錄音|语音|語音|转录)",
        r"(?:申し訳|すみません|ごめん).{0,40}(?:音声|録音|オーディオ|文字起こし).{0,30}"
        r"(?:できません|ません|できない)",
    )
)


def is_refusal(text: str) -> bool:
    """Whether an answer says that the model can't, instead of what was said."""
    plain = unicodedata.normalize("NFC", text).casefold().translate({ord("’"): "'", ord("‘"): "'"})
    plain = " ".join(plain.split()).lstrip("\"'*-–—.… ")
    return len(plain) <= LONGEST and any(pattern.match(plain) for pattern in PATTERNS)
