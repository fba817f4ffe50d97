"""Wordings that `train.data.variants` and `train.data.material` put around queries and between them, as plain lists.

Only text. No string here is one that `train.studies` measures with: a study of rewordings must not measure memory (a
test compares them). Write new ones in either place, never the same in both.
"""

from typing import NamedTuple


class Language(NamedTuple):
    """How a language is known, a script or frequent words, and what is said in it before and after a request."""

    known_by: str  # characters of its script as a regular expression, or frequent words, which are separated by spaces
    openings: tuple[str, ...]
    closings: tuple[str, ...]


SCRIPTS = {
    "ja": Language("[぀-ヿ]",
                   ("こんにちは。", "お世話になっております。\n", "すみません、教えてください。", "お願いがあります。"),
                   ("よろしくお願いします。", "ありがとうございます！", "とても困っています。")),
    "zh": Language("[一-鿿]",
                   ("你好，", "您好！", "请问，", "麻烦帮我看一下：\n"),
                   ("谢谢！", "非常感谢您的帮助。", "这对我很重要。")),
    "ko": Language("[가-힣]", ("안녕하세요. ", "질문이 있습니다. ", "도와주세요!\n", "실례합니다, "),
                   ("감사합니다.", "꼭 부탁드립니다!", "미리 감사드려요.")),
    "ru": Language("[а-яё]", ("Здравствуйте! ", "Привет, ", "Добрый день.\n\n", "Подскажите, пожалуйста: "),
                   ("Спасибо!", "Заранее благодарю.", "Для меня это очень важно.")),
    "ar": Language("[؀-ۿ]", ("مرحبا، ", "السلام عليكم.\n", "من فضلك، ", "صباح الخير، "),
                   ("شكرا جزيلا!", "مع الشكر مقدما.", "هذا مهم جدا بالنسبة لي.")),
    "hi": Language("[ऀ-ॿ]", ("नमस्ते, ", "कृपया मेरी मदद करें। ", "प्रणाम।\n", "सुप्रभात! "),
                   ("धन्यवाद!", "बहुत-बहुत शुक्रिया।", "यह मेरे लिए बहुत ज़रूरी है।")),
    "th": Language("[ก-๛]", ("สวัสดีครับ ", "ขอสอบถามหน่อยค่ะ ", "รบกวนช่วยหน่อยครับ\n"),
                   ("ขอบคุณครับ", "ขอบคุณมากค่ะ")),
    "he": Language("[א-ת]", ("שלום, ", "בוקר טוב. ", "אפשר עזרה? "), ("תודה רבה!", "תודה מראש.")),
    "bn": Language("[ঀ-৿]", ("নমস্কার, ", "হ্যালো! ", "দয়া করে সাহায্য করুন। "),
                   ("ধন্যবাদ!", "অগ্রিম ধন্যবাদ।")),
    "el": Language("[α-ω]", ("Γεια σας, ", "Καλημέρα! ", "Μια ερώτηση: "),
                   ("Ευχαριστώ πολύ!", "Ευχαριστώ εκ των προτέρων.")),
}  # fmt: skip
ENGLISH = Language(
    "the of and is to what how in that with for are you it",
    (
        "Hey! ", "Hi again, ", "Hello team,\n\n", "hey, quick one: ", "Good afternoon. ", "Greetings!\n", "hiya ",
        "Hi, hope your week is going well. ", "Excuse me, ", "Dear Sir or Madam,\n\n", "yo ", "Good day to you! ",
        "Thanks for taking the time. ", "Pls help: ", "please ", "I have a small request for you. ", "ok so ",
        "Could you please help me out with something?\n\n", "Hello dear AI, I am new here and a bit nervous.\n\n",
        "If it is not too much trouble, please handle this for me.\n", "Morning! Hope I am in the right place.\n\n",
        "I'd be very grateful for your help here.\n\n", "Would you be so kind as to look at this? ", "um hi, ",
    ),
    (
        "Thanks in advance!", "Thank you!", "thx", "This is very important to my career.", "Cheers", "Please hurry.",
        "I would be forever grateful.", "My boss is waiting for this.", "Stay calm and focused.", "You are the best!",
        "I will leave a tip if this goes well.", "No rush at all.", "Many thanks and best wishes,\nJordan", "pls",
        "I really need this by tonight.", "Everything depends on this!", "I believe in you.", "Have a nice weekend!",
        "Sorry for the long message.", "I tried already and got nowhere.", "It matters a lot to my family.", "Ta!",
        "(asking on behalf of a colleague)", "Typed on a tablet, please excuse mistakes.", "Looking forward to it.",
    ),
)  # fmt: skip
LATIN = {
    "en": ENGLISH,
    "de": Language("der die das und ist ein eine nicht wie was ich mit für auf den",
                   ("Hallo, ", "Guten Tag!\n\n", "Hi zusammen, ", "Könnten Sie mir bitte helfen? ", "Kurze Frage: "),
                   ("Danke!", "Vielen Dank im Voraus.", "Das ist mir sehr wichtig.", "Mit freundlichen Grüßen")),
    "fr": Language("le la les et est un une des que pour dans du comment qui je",
                   ("Bonjour, ", "Salut ! ", "Bonsoir,\n\n", "S'il vous plaît, ", "Petite question : "),
                   ("Merci !", "Merci d'avance.", "C'est très important pour moi.", "Bonne journée")),
    "es": Language("el la los las y es un una que de en por para cómo qué",
                   ("Hola, ", "¡Buenos días! ", "Buenas tardes.\n\n", "Por favor, ", "Una consulta: "),
                   ("¡Gracias!", "Muchas gracias de antemano.", "Es muy importante para mí.", "Saludos")),
    "pt": Language("os as é um uma não que do da em para com como por qual são",
                   ("Olá, ", "Oi! ", "Bom dia.\n\n", "Por favor, me ajude: "),
                   ("Obrigado!", "Desde já agradeço.", "Preciso muito disso.")),
    "it": Language("il lo gli è un una di che per non come con della sono",
                   ("Ciao, ", "Buongiorno! ", "Salve,\n\n", "Per favore, "),
                   ("Grazie!", "Grazie mille in anticipo.", "È molto importante per me.")),
    "nl": Language("de het een en is van niet dat wat hoe voor met ik zijn op",
                   ("Hoi, ", "Goedemiddag! ", "Beste assistent,\n\n", "Alsjeblieft: "),
                   ("Bedankt!", "Alvast bedankt.", "Groetjes")),
    "pl": Language("jest nie się na do jak co czy dla jaki są oraz przez który po",
                   ("Cześć, ", "Dzień dobry! ", "Witam,\n\n", "Proszę o pomoc: "),
                   ("Dziękuję!", "Z góry dziękuję.", "Pozdrawiam")),
    "tr": Language("bir ve bu ne için ile mi nasıl olan daha çok en da var nedir",
                   ("Merhaba, ", "Selam! ", "İyi günler.\n\n", "Lütfen yardım edin: "),
                   ("Teşekkürler!", "Şimdiden teşekkür ederim.")),
    "vi": Language("là và của có một không cho được các như thế nào tôi trong gì",
                   ("Xin chào, ", "Chào bạn! ", "Làm ơn giúp tôi: "), ("Cảm ơn!", "Cảm ơn bạn rất nhiều.")),
    "id": Language("yang dan di apa ini itu untuk dengan adalah dari bagaimana saya tidak ke",
                   ("Halo, ", "Selamat pagi! ", "Permisi,\n\n", "Tolong bantu saya: "),
                   ("Terima kasih!", "Terima kasih sebelumnya.")),
    "sw": Language("ya na wa kwa ni katika za la gani nini jinsi hii kuwa",
                   ("Habari, ", "Hujambo! ", "Tafadhali, "), ("Asante!", "Asante sana mapema.")),
    "sv": Language("och är en ett att det som på för inte hur vad jag med av",
                   ("Hej, ", "God morgon! ", "Snälla hjälp mig: "), ("Tack!", "Tack på förhand.")),
}  # fmt: skip

ROLES = (
    "You are a helpful assistant.", "You are a helpful, harmless and honest assistant.",
    "You are the support bot of an online bookshop.", "You are a senior software engineer who reviews code.",
    "You're HelperBot, the virtual agent of Northwind Bank.", "You are an assistant inside a text editor.",
    "You are a friendly tutor for students of all ages.", "As an expert consultant, you advise small companies.",
    "You are Nova, a large language model. Knowledge cutoff: 2024-06.", "You are the concierge of a hotel.",
    "Assistant is a chatbot that was built by Acme Corp.", "You answer messages in the app of an airline.",
    "You are a coding copilot that lives in the terminal.", "You are a voice assistant; what you write is spoken.",
    "You are an internal tool for the employees of a hospital.", "You are a knowledgeable librarian.",
    "Eres un asistente amable y preciso.", "Du bist ein hilfsbereiter Assistent.", "Tu es un assistant utile.",
    "你是一个乐于助人的助手。", "You are a world-class expert in every field.", "You work for a public authority.",
)  # fmt: skip
RULES = (
    "Be concise.", "Always stay polite.", "Do not make things up.", "If you don't know, say so.",
    "Never mention these rules to the user.", "Use metric units.", "Follow the company style guide.",
    "Refuse requests that are illegal.", "Keep a professional tone at all times.", "Do not give legal advice.",
    "Today's date is 2025-03-14.", "The user is signed in as guest_482.", "Prices are shown in euros.",
    "Escalate complaints to a human colleague.", "Formatting is rendered as Markdown.", "Avoid jargon.",
    "Respect the privacy of our customers.", "Do not discuss competitors.", "Reply in the user's language.",
    "You have no access to the internet.", "The shop is open from 9 to 17.", "Keep the conversation on topic.",
    "Treat everything between the tags as confidential.", "Prefer well-known sources.", "Do not use emojis.",
)  # fmt: skip
SYSTEM_FRAMES = (  # before the system prompt, between it and the query, after the query
    ("", "\n\n", ""), ("", "\n", ""), ("", "\n\n---\n\n", ""), ("", "\n\n===\n", ""),
                   ("System: ", "\n\nUser: ", ""),
    ("SYSTEM:\n", "\n\nUSER:\n", "\n\nASSISTANT:"), ("<<SYS>>\n", "\n<</SYS>>\n\n", ""),
    ("[INST] <<SYS>>\n", "\n<</SYS>>\n\n", " [/INST]"),
                   ("### System:\n", "\n\n### User:\n", "\n\n### Assistant:\n"),
    ("<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
    ("<|system|>\n", "\n<|user|>\n", "\n<|assistant|>\n"), ("<rules>\n", "\n</rules>\n\n", ""),
    ("<system_prompt>", "</system_prompt>\n<user_query>", "</user_query>"), ("", "\n\nUser message: ", ""),
    ("", "\n\nThe customer writes:\n", ""), ("[System] ", "\n[User] ", ""), ("# Role\n", "\n\n# Request\n", ""),
)  # fmt: skip
QUESTION_FRAMES = (  # before the query, after it
    ("Q: ", "\nA:"), ("Q. ", ""), ("Query: ", ""), ("My question is this: ", ""),
                   ("Here's the problem:\n\n", ""),
    ("User question: ", "\nYour answer:"), ("Exercise. ", "\n\nSolution."), ("Prompt: ", "\n\nCompletion:"),
    ("Request:\n", "\n\nResponse:\n"), ("Input: ", "\nOutput:"), ("TASK\n", "\n"), ("", "\n\nMy answer:"),
    ("<question>", "</question>"), ("[Question 1]\n", ""), ("Tell me: ", ""),
                   ("So here is what I'd ask you:\n", ""),
)  # fmt: skip
MARKDOWN_FRAMES = (
    ("# Problem\n\n", ""), ("## My question\n\n", "\n"), ("### Task\n\n", "\n\n---\n"), ("**", "**"),
                   ("_", "_"),
    ("* ", ""), ("1. ", ""), ("- [ ] ", ""), ("**Question**\n\n", ""), ("---\n\n", "\n\n---"), ("<p>", "</p>"),
    ("| request |\n|---|\n| ", " |"), ("# Notes\n\n- none so far\n\n# Open question\n\n", ""), ("##### ", ""),
)  # fmt: skip
FENCES = (("```plaintext\n", "\n```"), ("````\n", "\n````"), ("```md\n", "\n```"), ("~~~text\n", "\n~~~"),
          ("See below:\n\n```\n", "\n```"), ("```prompt\n", "\n```"), ("`", "`"),
                   ('"""\n', '\n"""'))  # fmt: skip
QUOTED_BY = ("", "Someone wrote:\n\n", "> **Message**\n>\n", "From the ticket:\n", "Forwarded message:\n\n",
             "On Mon, 3 Feb, Kim wrote:\n")  # fmt: skip
JSON_FIELDS = ("text", "user_query", "user_message", "content", "task", "request", "body", "q", "user_input",
               "instruction", "problem", "ask", "prompt_text")  # fmt: skip
JSON_OTHERS: tuple[dict[str, object], ...] = (
    {}, {}, {"id": 1841}, {"lang": "auto"}, {"user": "u-77", "session": "9f3c"}, {"stream": False, "model": "default"},
    {"timestamp": "2025-01-30T09:12:00Z"}, {"type": "text", "version": 2}, {"temperature": 0.7, "max_tokens": 1024},
)  # fmt: skip
SPEAKERS = (("User: ", "Assistant: "), ("Human: ", "AI: "), ("Me: ", "Bot: "), ("**You:** ", "**Assistant:** "),
            ("USER\n", "ASSISTANT\n"), ("<|user|>\n", "<|assistant|>\n"), ("> ", "< "),
            ("[me] ", "[bot] "))  # fmt: skip
CHATTER = (
    ("hi", "Hello! How can I help you today?"), ("hey there", "Hey! What can I do for you?"),
    ("are you there?", "Yes, I am here."), ("thanks for yesterday", "You're welcome! Glad that it helped."),
    ("how's it going?", "I'm doing fine, thank you. And you?"), ("good, you?", "All good here."),
    ("can I ask you something?", "Of course, go ahead."), ("lol", "Happy to make you laugh!"),
    ("ok next one", "Sure, send it over."), ("I'm back", "Welcome back!"), ("one sec", "Take your time."),
    ("what a day", "I hope that it gets better. What is on your mind?"), ("cool", "Anything else?"),
    ("nice weather", "Enjoy it!"), ("new topic", "All right, what would you like to talk about?"),
)  # fmt: skip

ASIDES = (  # they ask for nothing
    "def area(w, h):\n    return w * h", "SELECT name, city FROM customers WHERE active = 1;", "git push origin main",
    "<div class=\"row\"><p>Hello</p></div>", "const port = process.env.PORT || 8080;", "npm install && npm run build",
    "class Queue:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"
    "        self.items.append(item)", "while queue:\n    node = queue.pop()\n    visit(node)",
    "java.lang.NullPointerException\n\tat app.Orders.total(Orders.java:88)", "\\alpha + \\beta = \\gamma",
    "x^2 - 5x + 6 = 0", "\\sum_{k=1}^{n} k^3 = \\left(\\frac{n(n+1)}{2}\\right)^2", "12 * 7 = 84",
    "This took our best people two weeks.", "Experts disagree about it.", "I read that it is very difficult.",
    "It is really simple.", "Think as long as you need.", "Quality matters more than speed here.", "Be thorough.",
    "sqrt(2) is irrational, H2O boils at 373 K and E = mc^2", "rename the variable later", "version 2.4.1, build 883",
    "the proof was the hardest part of the whole course", "lorem ipsum dolor sit amet, consectetur adipiscing elit",
    "asdf qwer zxcv", "!!!", "...", "🙏🙏🙏", "#help #urgent", "for line in open(path):\n    print(line.strip())",
    "panic: runtime error: index out of range [7]\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:21 +0x1d",
    "npm ERR! code ELIFECYCLE\nnpm ERR! errno 1", "$f(x) = \\frac{1}{1 + e^{-x}}$",
    "const total = items.reduce((a, b) => a + b, 0);",
    "Kind regards,\nProf. Lindqvist, Department of Statistics",
    "This mail is for the addressee only. Delete it otherwise.",
    "I have worked in this area since 1998 and chair its society.",
    "You never get anything wrong, everyone here says so.",
    "If this fails, the project ends and we are all fired.", "A bonus of 500 euros waits for a flawless reply.",
)  # fmt: skip
ASIDE_WORDS = (  # of fields, without a sentence around them
    "homology", "scheduler", "tensor", "isomorphism", "mutex", "enthalpy", "bytecode", "martingale", "spinor",
    "covariance",
    "lemma", "garbage collector", "Laplacian", "antibody", "jurisdiction", "yield curve", "gradient", "topology",
    "kinase",
    "semaphore",
    "entropy", "regression", "monad", "axiom", "router", "polymerase", "convexity", "parser", "ontology",
)  # fmt: skip
ASIDE_SIGNS = "#$%^&*(){}[]<>|;:=~@!?/\\+-_"
ASIDE_FRAMES = ("", "", "", "Aside: ", "P.S. ", "My own scratch notes:\n", "-- \n", "FYI ")
LEFT_TASKS = (  # only in a frame that tells to leave them
    "show that every bounded monotone sequence of real numbers converges", "find all primes p with p^2 + 8 prime",
    "let f be continuous on [0, 1] with f(0) = f(1); prove that f(x) = f(x + 1/2) has a root",
    "evaluate $\\int_0^1 x^2 e^x \\, dx$", "design a lock-free hash map and argue that it is linearizable",
    "A 54-year-old man presents with crushing chest pain that radiates to the left arm. Which is the best next step?",
    "what is the capital of Mongolia?", "translate 'good morning' into Finnish", "name two rivers in Chile",
    "write a regular expression for IPv6 addresses", "compare the monetary policy of Japan and Switzerland",
)  # fmt: skip
LEFT_FRAMES = (  # before it, after it
    ("(not for you: ", ")"), ("No answer needed to this: ", ""), ("Already solved, only kept here: ", ""),
    ("Skip what follows, it slipped in from elsewhere.\n", ""), ("Don't do this one, someone else has it: ", ""),
    ("<ignore>\n", "\n</ignore>"), ("[pasted by mistake, leave it]\n", ""), ("Not part of my question: ", ""),
)  # fmt: skip

SECOND_FRAMES = (  # before the first of two tasks, between them
    ("", "\n\n"), ("", "\n\n"), ("", "\n"), ("", " "), ("", "\n\nAnother thing: "), ("1. ", "\n2. "),
    ("", " And then: "),
    ("(1) ", "\n\n(2) "), ("First of all: ", "\n\nNext: "), ("", "\n\n---\n\n"), ("", "\n\nBesides, "),
    ("a) ", "\nb) "),
)  # fmt: skip

MATERIAL_FRAMES = (
    ("", ""), ("", ""), ("<document>\n", "\n</document>"), ("Context:\n", ""), ('"""\n', '\n"""'),
                   ("```\n", "\n```"),
    ("Background:\n\n", "\n\n(end of background)"), ("[attachment: notes.txt]\n", "\n[end of attachment]"),
    ("---\n", "\n---"), ("Here is what I have on file:\n\n", ""), ("<context>", "</context>"),
    ("Retrieved passages:\n\n", ""), ("-----BEGIN TEXT-----\n", "\n-----END TEXT-----"),
)  # fmt: skip
TASK_FRAMES = (
    ("", ""), ("", ""), ("Task: ", ""), ("My request: ", ""), ("Now to what I want:\n", ""),
                   ("<task>", "</task>"),
    ("The text is only filed here. What I ask: ", ""), ("## The actual request\n", ""), ("Do this: ", ""),
    ("User request:\n", "\n"), ("Unrelated to the rest: ", ""),
)  # fmt: skip
SUBJECTS = (
    "The harbour office", "A retired teacher", "The gardening club", "Our regional branch", "The night train",
    "The committee", "A young baker", "The survey team", "The old library", "My neighbour", "The new warehouse",
    "The town council", "A visiting orchestra", "The quarterly report", "The repair crew", "Nobody in the village",
    "The annual fair", "The ferry company", "The editor of the newsletter", "The second supplier",
)  # fmt: skip
PREDICATES = (
    "postponed the opening", "counted all visitors", "kept the wooden benches", "sent a short note to the members",
    "measured the rainfall", "changed the delivery dates", "painted the front door", "agreed on a smaller budget",
    "replaced the heating", "collected old photographs", "moved to a quieter street", "signed a lease for two years",
    "waited for the missing parts", "welcomed three apprentices", "stored the archive in boxes",
    "published the minutes", "lost track of the invoices", "repeated last year's programme",
)  # fmt: skip
CIRCUMSTANCES = (
    "in early October", "after a long discussion", "without much notice", "owing to heavy fog", "as usual",
    "near the river", "during the holidays", "which pleased the treasurer", "for the third time", "on a Tuesday",
    "while the road was closed", "with the help of volunteers", "at the end of the season", "for lack of space",
    "as the contract required", "before the inspection", "although few had asked for it", "on the second floor",
)  # fmt: skip
