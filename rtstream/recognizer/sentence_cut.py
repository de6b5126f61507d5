"""Sentences that are cut in two because a segment was as long as it may be: case and full stop follow the sentence.

A decoder ends whatever it hears with a full stop and begins with a capital letter, which says nothing of such a cut.
"""

from __future__ import annotations

import re
from functools import cache

INITIAL = r"\b[A-HJ-ZÀ-ÖØ-ÞĆŁŚŹŻА-ЯЁ]|\.\w+|\."
"""Before a point that is no full stop: an initial, "U.S.", three points."""
ABBREVIATIONS = {
    "ca": "sr sra srta dr dra etc sant st núm",
    "de": "hr fr dr prof st nr ca bzw usw vgl inkl",
    "en": "mr mrs ms dr st jr sr vs etc",
    "es": "sr sra srta dña dr dra ud uds etc núm",
    "fr": "mme mlle mm dr st ste etc cf",
    "it": "sig sigg dott prof ecc",
    "nl": "dhr mevr mr dr prof enz bijv nr",
    "pl": "dr prof np itd itp ul św nr al",
    "pt": "sr sra srta dr dra d prof etc núm",
    "ru": "г гг ул др пр им св проф руб",
}
SMALL = {
    "ca": "a al amb aquest aquesta aquests aquestes com d de del dels després doncs el ella ells els em en encara ens "
    "és es eren era això i ja l la les li mentre més no o on per perquè però quan que què qui sense si sobre "
    "també tot un una va vaig són",
    "de": "aber als also am an auch auf aus bei bis da dann das dass dem den denn der des die dies diese dieser doch "
    "du durch ein eine einem einen einer er es für hat ich ihr im in ist ja jetzt kein man mit nach nicht noch nun "
    "nur ob oder ohne schon seit sich sie sind so über um und uns unter vom von vor war was weil wenn wer wie wir "
    "wird wo zu zum zur zwischen",
    "en": "a about after all also an and any are as at be because been before but by can could did do does for from "
    "had has have he her him his how if in into is it its more my no nor not of on only or other our out over shall "
    "she should so some such than that the their them then there these they this those through to under until up "
    "upon us very was we were what when where which while who whom whose why will with would you your",
    "es": "a al aunque así como con cuando de del desde después donde e el ella ellos en entonces entre era es esa ese "
    "eso esta está este esto fue ha hasta hay la las le les lo los más me mi mientras muy ni no nos o para pero "
    "por porque pues que qué quien se ser si sí sin sobre son su sus también tan te todo tu un una unos unas y ya "
    "yo",
    "fr": "a à alors après au aussi aux avec bien c ça car ce cela celle celui ces cette chez comme d dans de depuis "
    "des dès donc dont du elle elles en est et était eux il ils j je jusqu l la le les leur leurs lui m mais me "
    "mes moi mon n ne nos notre nous on ont ou où par parce pas pendant plus pour puis qu quand que qui quoi s sa "
    "sans se ses si son sont sous sur ta te toi ton tous tout toute très tu un une vos votre vous y",
    "it": "a ad ai al alla alle allo anche c ce che chi ci come con così cui d da dai dal dalla dei del della delle "
    "dello di dopo dove e è ed era fino fra gli ha ho i il in io l la le lei li lo loro lui ma mentre mi molto ne "
    "nei nel nella noi non o ogni per perché però poi prima più qual quando quanto quello questa questo qui se "
    "sei senza si sì siamo sono su sua sul sulla suo tra tu tutti tutto un una uno vi voi",
    "nl": "aan al als bij dan dat de deze die dit door dus een en er ga had heb heeft het hij hoe hun ik in is je jij "
    "kan maar me meer met mijn moet na naar niet nog nu of om omdat onder ons ook op over te tegen toen tot "
    "tussen u uit van veel voor want waar was wat we wel werd wie wij wordt zal ze zich zij zijn zo zonder",
    "pl": "a aby albo ale ani bardzo bez bo być był była było byli by co czy dla do gdy gdyby gdzie go i ich ile im in "
    "jak jako jednak jego jej jest jestem już każdy kiedy kto ku lub ma mi mnie może na nad nam nas nie niego nim "
    "o od on ona oni ono oraz po pod przed przez przy są się tak także tam tego tej ten to tu tych tylko tym u w "
    "wam we więc wszystko z za ze że żeby",
    "pt": "a ao aos aquela aquele aquilo as às até com como da das de dela dele depois do dos e é ela elas ele eles em "
    "então entre era essa esse esta está este eu foi há isso isto já lhe mais mas me mesmo meu minha muito na não "
    "nas nem no nos nós num numa o onde os ou para pela pelo por porque quando que quem são se sem ser seu só sob "
    "sobre sua também te tem tudo um uma você vocês",
    "ru": "а без бы был была были было в вам вас ваш во вот все всё вы где да для до его ее её если есть ещё еще же за "
    "здесь и из или им их к как ко когда который кто ли мы мне на над нам нас не него нее нет ни но ну о об он "
    "она они оно от очень по под после потом потому при про с сейчас со так также там те тем то того тоже только "
    "том ты у уже чем что чтобы эта эти это этого этот я",
}
"""Words that have a capital letter only where a sentence begins. Others may be names, and keep theirs."""
FIRST = re.compile(r"\w+")


@cache
def _short(language: str) -> re.Pattern[str]:
    """Ends whose point is no full stop."""
    known = "|".join(ABBREVIATIONS.get(language, "").split())
    return re.compile(rf"(?:\b(?i:{known or '(?!)'})|{INITIAL})\.$")


@cache
def _small(language: str) -> frozenset[str]:
    return frozenset(SMALL.get(language, "").split())


def unfinished(text: str, language: str = "en") -> str:
    """The text before a cut, without the full stop at its end. ``language``: ISO 639-1."""
    return text if not text.endswith(".") or _short(language).search(text) else text[:-1]


def continued(text: str, language: str = "en") -> str:
    """The text behind a cut: a small word at its beginning is written small, where the language's are known."""
    first = FIRST.match(text)
    if first is None or first[0].lower() not in _small(language):
        return text
    return text[0].lower() + text[1:]
