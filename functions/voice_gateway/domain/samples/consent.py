"""The consent of whoever speaks in a sample: without it no voice is cloned."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

from voice_gateway.domain.language import LanguageTag, primary

PersonName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=120, strip_whitespace=True, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$"
    ),
]
ConsentText = Annotated[
    str, StringConstraints(min_length=20, max_length=4000, strip_whitespace=True)
]

CONSENT_TEXTS: Final = {
    "ar": "أنا {speaker}، صاحب هذا الصوت. أوافق على أن يُصنع من تسجيلي صوت اصطناعي وأن يتحدث "
    "به المساعد الرقمي لهذا المتجر. يمكنني سحب هذه الموافقة في أي وقت، وعندئذٍ تُحذف تسجيلاتي.",
    "cs": "Jmenuji se {speaker} a tento hlas je můj. Souhlasím s tím, aby z mé nahrávky vznikl "
    "umělý hlas a aby jím mluvil digitální asistent tohoto obchodu. Souhlas mohu kdykoli "
    "odvolat; mé nahrávky pak budou smazány.",
    "de": "Ich heiße {speaker}, und diese Stimme ist meine. Ich bin einverstanden, dass aus "
    "meiner Aufnahme eine künstliche Stimme entsteht und der digitale Assistent dieses "
    "Geschäfts mit ihr spricht. Ich kann das jederzeit widerrufen; meine Aufnahmen werden dann "
    "gelöscht.",
    "en": "My name is {speaker}, and this voice is mine. I agree that an artificial voice is "
    "made from my recording, and that this store's digital assistant speaks with it. I can take "
    "this back at any time; my recordings are deleted then.",
    "es": "Me llamo {speaker} y esta voz es mía. Acepto que a partir de mi grabación se cree "
    "una voz artificial y que el asistente digital de esta tienda hable con ella. Puedo "
    "retirar este permiso en cualquier momento; entonces se borrarán mis grabaciones.",
    "fr": "Je m'appelle {speaker} et cette voix est la mienne. J'accepte qu'une voix "
    "artificielle soit créée à partir de mon enregistrement et que l'assistant numérique de ce "
    "magasin parle avec elle. Je peux retirer cet accord à tout moment ; mes enregistrements "
    "seront alors effacés.",
    "hi": "मेरा नाम {speaker} है और यह आवाज़ मेरी है। मैं सहमति देता/देती हूँ कि मेरी "
    "रिकॉर्डिंग से एक कृत्रिम आवाज़ बनाई जाए और इस दुकान का डिजिटल सहायक उससे बोले। मैं यह "
    "सहमति कभी भी वापस ले सकता/सकती हूँ; तब मेरी रिकॉर्डिंग मिटा दी जाएँगी।",
    "hu": "A nevem {speaker}, és ez a hang az enyém. Hozzájárulok, hogy a felvételemből "
    "mesterséges hang készüljön, és hogy ennek az üzletnek a digitális asszisztense ezen "
    "szólaljon meg. Ezt bármikor visszavonhatom; a felvételeimet akkor törlik.",
    "it": "Mi chiamo {speaker} e questa voce è mia. Acconsento che dalla mia registrazione sia "
    "creata una voce artificiale e che l'assistente digitale di questo negozio parli con essa. "
    "Posso revocare il consenso in qualsiasi momento; le mie registrazioni saranno allora "
    "cancellate.",
    "ja": "私の名前は{speaker}です。この声は私のものです。私の録音から人工の声を作り、この店の"
    "デジタルアシスタントがその声で話すことに同意します。この同意はいつでも取り消すことができ、"
    "その場合、私の録音は削除されます。",
    "ko": "제 이름은 {speaker}이고, 이 목소리는 제 것입니다. 제 녹음으로 인공 음성을 만들고 이 "
    "매장의 디지털 도우미가 그 음성으로 말하는 것에 동의합니다. 저는 언제든지 동의를 철회할 수 "
    "있으며, 그러면 제 녹음은 삭제됩니다.",
    "nl": "Mijn naam is {speaker} en deze stem is van mij. Ik ga ermee akkoord dat van mijn "
    "opname een kunstmatige stem wordt gemaakt en dat de digitale assistent van deze winkel "
    "daarmee spreekt. Ik kan dit op elk moment intrekken; mijn opnamen worden dan gewist.",
    "pl": "Nazywam się {speaker} i ten głos należy do mnie. Zgadzam się, aby z mojego nagrania "
    "powstał sztuczny głos i aby mówił nim cyfrowy asystent tego sklepu. Mogę w każdej chwili "
    "cofnąć tę zgodę; moje nagrania zostaną wtedy usunięte.",
    "pt": "O meu nome é {speaker} e esta voz é minha. Concordo que a partir da minha gravação "
    "seja criada uma voz artificial e que o assistente digital desta loja fale com ela. Posso "
    "retirar esta autorização a qualquer momento; as minhas gravações serão então apagadas.",
    "ru": "Меня зовут {speaker}, и этот голос принадлежит мне. Я даю согласие на то, чтобы из "
    "моей записи был создан искусственный голос и чтобы им говорил цифровой помощник этого "
    "магазина. Я могу отозвать согласие в любое время; тогда мои записи будут удалены.",
    "tr": "Benim adım {speaker} ve bu ses bana ait. Kaydımdan yapay bir ses oluşturulmasını ve "
    "bu mağazanın dijital asistanının bu sesle konuşmasını kabul ediyorum. Bu onayı istediğim "
    "zaman geri alabilirim; o zaman kayıtlarım silinir.",
    "zh": "我叫{speaker}，这是我本人的声音。我同意用我的录音制作人工语音，并由本店的数字助理用"
    "该语音说话。我可以随时撤回这一同意；届时我的录音将被删除。",
}
"""Language → what a speaker may be given to read and agree to; the languages of XTTS v2."""


class Consent(BaseModel):
    """Who agreed to what, and who says so."""

    model_config = ConfigDict(frozen=True)

    speaker: PersonName
    """Whose voice it is."""
    attested_by: PersonName
    """Who says that the speaker agreed."""
    recorded_by: str
    """The id of the caller that stored it."""
    language: LanguageTag
    """Of the text."""
    text: ConsentText
    """What the speaker agreed to, word for word."""
    text_hash: str
    """SHA-256 of the text, hexadecimal."""
    given_at: datetime
    covers: str
    """SHA-256 of the one recording that it is about: another upload needs another consent."""
    recording_id: str | None = None
    """A sample in which the speaker says so."""


def consent_text(language: str, speaker: str) -> str | None:
    """The text in a language, with the speaker's name in it; None for a language without one."""
    template = CONSENT_TEXTS.get(primary(language))
    return None if template is None else template.format(speaker=speaker)


def hash_text(text: str) -> str:
    """The identity of a text: SHA-256 of its UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
