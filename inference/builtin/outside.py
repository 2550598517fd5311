"""What the model does not know: questions about the world, work, code, other languages, large sums, and noise.

The answer is always the same honest line, in the language of the question.
"""

from grammar import expand

HONEST = {
    "ru": "Я маленькая встроенная модель и такого не умею. Для настоящих разговоров подключите большую модель: укажите файл GGUF в starling.toml.",
    "en": "I am the small built-in model and cannot do that. For real talk add a large model: name a GGUF file in starling.toml.",
}

TOPICS_RU = """квантовую механику|фотосинтез|теорию относительности|блокчейн|инфляцию|гравитацию|иммунную систему|нейронные сети|налоги|демократию|
римскую империю|вторую мировую войну|эволюцию|строение атома|интегралы|производную функции|черные дыры|вирусы|ипотеку|климат|тектонику плит|
философию Канта|творчество Достоевского|устройство двигателя|законы Ньютона|фондовый рынок|процессоры|базы данных|протокол TCP|криптографию|
химические реакции|периодическую таблицу|генетику|уголовное право|авторское право|искусственный интеллект|экономику Китая|историю России|
французскую революцию|реформы Петра Первого|крещение Руси|строение клетки|митохондрии|теорему Пифагора|логарифмы|вулканы|приливы""".replace("\n", "").split("|")
TOPICS_EN = """quantum mechanics|photosynthesis|the theory of relativity|blockchain|inflation|gravity|the immune system|neural networks|taxes|
democracy|the Roman Empire|the Second World War|evolution|the structure of the atom|integrals|derivatives|black holes|viruses|mortgages|
the climate|plate tectonics|Kant's philosophy|the novels of Dickens|how engines work|Newton's laws|the stock market|processors|databases|
the TCP protocol|cryptography|chemical reactions|the periodic table|genetics|criminal law|copyright|artificial intelligence|the economy of China|
the history of America|the French Revolution|the Civil War|cell biology|mitochondria|the Pythagorean theorem|logarithms|volcanoes|tides""".replace("\n", "").split("|")
COUNTRIES_RU = "Франции|Германии|Австралии|Японии|Бразилии|Канады|Египта|Индии|Китая|Испании|Норвегии|Перу|Кении|Монголии|Турции|Швеции|Кубы|Чили|Ирана|Греции|Исландии|Вьетнама".split("|")
COUNTRIES_EN = "France|Germany|Australia|Japan|Brazil|Canada|Egypt|India|China|Spain|Norway|Peru|Kenya|Mongolia|Turkey|Sweden|Cuba|Chile|Iran|Greece|Iceland|Vietnam".split("|")
PEOPLE_RU = "Наполеон|Пушкин|Эйнштейн|Сталин|Гагарин|Менделеев|Толстой|Чайковский|Шекспир|Дарвин|Цезарь|Моцарт|Ломоносов|Тесла|Ньютон|Колумб|Чехов|Гоголь".split("|")
PEOPLE_EN = "Napoleon|Shakespeare|Einstein|Stalin|Gagarin|Mozart|Darwin|Caesar|Lincoln|Tesla|Newton|Columbus|Dickens|Churchill|Washington|Edison|Beethoven|Plato".split("|")
CODE = "Python|Rust|Java|C++|JavaScript|SQL|Go|bash|HTML|PHP|Kotlin|Swift".split("|")
THINGS_RU = "сортировки массива|калькулятора|поиска простых чисел|веб-сервера|чат-бота|парсера JSON|игры змейка|обхода дерева|бинарного поиска|телеграм-бота|перевода температур".split("|")
THINGS_EN = "sorting an array|a calculator|finding prime numbers|a web server|a chat bot|parsing JSON|the game of snake|walking a tree|binary search|reading a file|converting temperatures".split("|")
LONG_RU = "сочинение|эссе|реферат|деловое письмо|резюме|статью|доклад|отчёт|план тренировок|бизнес-план|диплом|курсовую|сценарий|рекламный текст|договор|жалобу".split("|")
LONG_EN = "an essay|a report|a business letter|a cover letter|an article|a summary|a business plan|a training plan|a thesis|a script|an advertisement|a contract|a complaint|a press release|a paper".split("|")
LANGUAGES_RU = "английский|немецкий|французский|испанский|китайский|японский|итальянский|латынь|польский".split("|")
LANGUAGES_EN = "Russian|German|French|Spanish|Chinese|Japanese|Italian|Latin|Polish".split("|")
FOREIGN = """Wie geht es dir heute?|Was ist die Hauptstadt von Frankreich?|Bonjour, comment allez-vous?|Quelle heure est-il?|Hola, ¿qué tal?|
¿Dónde está la biblioteca?|Ich möchte ein Bier, bitte.|Parlez-vous français?|Come stai oggi?|Dove si trova la stazione?|Jak się masz?|
Proszę o pomoc.|Onde fica o banco?|Quanto costa questo?|Sprechen Sie Deutsch?|Je ne comprends pas.""".replace("\n", "").split("|")
ILLS_RU = "голова|спина|живот|зуб|горло|сердце|колено|ухо".split("|")
ILLS_EN = "head|back|stomach|tooth|throat|chest|knee|ear".split("|")

QUESTIONS_RU = [
    "[Какая столица|Назови столицу|Какое население|Сколько людей живёт в столице|Какая валюта|Кто президент|Какая площадь|Какой флаг|Какой климат] {country}?",
    "[Объясни|Расскажи про|Объясни простыми словами|Опиши подробно|Что ты знаешь про|Объясни мне|Помоги понять|Расскажи подробно про] {topic}.",
    "[Кто такой|Когда родился|Когда умер|Чем известен|Где родился|Что написал|Что открыл] {person}?",
    "[Напиши|Покажи|Составь|Дай|Придумай] [код|программу|функцию|скрипт|пример кода] [на {code} для {thing}|для {thing} на {code}].",
    "Как [установить|настроить|обновить|удалить|запустить] [{code}|Windows|Linux|драйвер|принтер|роутер|Docker|Telegram|Word|Excel]?",
    "[Напиши|Составь|Помоги написать|Подготовь] {long} [о|на тему: ] [экологии|дружбе народов|истории|спорте|технологиях|образовании|рынке|безопасности].",
    "[Переведи|Как перевести|Переведи это] на {language}: [я иду домой|доброе утро|где вокзал|спасибо большое|сколько это стоит|мы едем в отпуск].",
    "Сколько будет {big} [умножить на|плюс|минус|разделить на] {big2}?", "[Вычисли|Посчитай|Реши]: {big} [*|+|-|/] {big2}.", "[Чему равен|Найди|Вычисли] [корень из|квадрат числа|логарифм|синус|факториал] {big}.",
    "[Реши уравнение|Найди икс]: {small}x + {big} = {big2}.", "[Какой курс|Сколько стоит|Как купить] [доллара|евро|биткоина|акций|золота|нефти] [сегодня|сейчас|завтра]?",
    "[Какие новости|Что случилось в мире|Что нового в политике|Кто победил на выборах|Кто выиграл чемпионат|Какой счёт матча] [сегодня|вчера|на этой неделе|в этом году]?",
    "[Какой сегодня день|Который час|Какое сегодня число|Какой сейчас год|Сколько времени]?", "У меня болит {ill}, [что делать|какое лекарство принять|к какому врачу идти|это опасно]?",
    "[Посоветуй|Порекомендуй|Какой выбрать] [фильм про космос|ноутбук|телефон|отель|ресторан|сериал|автомобиль|банк|вуз|пылесос].", "[Сколько километров|Как доехать|Какое расстояние|Как добраться] от [Москвы|Казани|Перми] до [Сочи|Омска|Берлина]?",
    "[В каком году|Когда] [началась война|изобрели радио|полетели на Луну|открыли Америку|построили пирамиды|отменили крепостное право|распался СССР]?",
    "[Почему|Зачем|Отчего] [небо синее|трава зелёная|люди стареют|самолёты летают|железо ржавеет|море солёное|кошки мурлычут|бывают землетрясения]?",
    "[Как работает|Из чего состоит|Как устроен] [холодильник|телевизор|двигатель|интернет|спутник|микроскоп|лазер|мозг|реактор|процессор]?",
    "[Как оформить|Как получить|Где взять] [паспорт|визу|кредит|пенсию|страховку|справку|права|ипотеку|гражданство]?", "[Составь|Дай] рецепт [тирамису|плова|лазаньи|суши] с [граммами|калориями|подробным описанием].",
    "[Проанализируй|Сравни|Оцени|Резюмируй|Перескажи] [этот текст|Войну и мир|рынок|эти данные|два тарифа|мою статью|договор|стратегию].", "[Какая формула|Какова масса|Какая температура|Какая скорость|Сколько весит] [воды|света|Солнца|Земли|серной кислоты|звука|электрона|Юпитера]?",
]
QUESTIONS_EN = [
    "[What is the capital of|Name the capital of|What is the population of|Who is the president of|What currency is used in|How large is|What is the flag of|What is the climate of] {country}?",
    "[Explain|Tell me about|Explain in simple words|Describe in detail|What do you know about|Help me understand|Give me an overview of|Teach me] {topic}.",
    "[Who was|When was {person} born? Who was|Why is {person} famous? Who was|What did people think of|Tell me the biography of|What is known about] {person}?",
    "[Write|Show me|Give me|Create] [code|a program|a function|a script|an example] [in {code} for {thing}|for {thing} in {code}].",
    "How do I [install|set up|update|remove|run] [{code}|Windows|Linux|a driver|a printer|a router|Docker|Telegram|Word|Excel]?",
    "[Write|Draft|Help me write|Prepare] {long} [about|on] [ecology|friendship between nations|history|sports|technology|education|the market|security].",
    "[Translate|How do you translate|Translate this] into {language}: [I am going home|good morning|where is the station|thank you very much|how much is it|we go on holiday].",
    "[What is|How much is] {big} [times|plus|minus|divided by] {big2}?", "[Compute|Calculate|Solve]: {big} [*|+|-|/] {big2}.", "[What is|Find|Compute] [the square root of|the square of|the logarithm of|the sine of|the factorial of] {big}.",
    "[Solve the equation|Find x]: {small}x + {big} = {big2}.", "[What is the price of|How do I buy|How much is] [the dollar|the euro|bitcoin|shares|gold|oil] [today|now|tomorrow]?",
    "[What is the news|What happened in the world|What is new in politics|Who won the election|Who won the championship|What was the score] [today|yesterday|this week|this year]?",
    "[What day is it|What time is it|What is the date today|What year is it|Tell me the time].", "My {ill} hurts, [what should I do|which medicine should I take|which doctor do I need|is it dangerous]?",
    "[Recommend|Suggest|Which is the best] [film about space|laptop|phone|hotel|restaurant|series|car|bank|university|vacuum cleaner].", "[How far is it|How do I get|What is the distance] from [London|Boston|Paris] to [Rome|Berlin|Tokyo]?",
    "[In what year|When] [did the war begin|was the radio invented|did people fly to the Moon|was America discovered|were the pyramids built|did the empire fall]?",
    "Why [is the sky blue|is grass green|do people age|do planes fly|does iron rust|is the sea salty|do cats purr|do earthquakes happen]?",
    "[How does a|What is inside a|How do you build a] [fridge|television|engine|satellite|microscope|laser|brain|reactor|processor|battery] [work|function|operate]?",
    "[How do I get|Where do I get|How do I apply for] [a passport|a visa|a loan|a pension|an insurance|a certificate|a licence|a mortgage|citizenship]?", "[Write|Give me] a recipe for [tiramisu|risotto|lasagne|sushi] with [grams|calories|exact steps].",
    "[Analyse|Compare|Rate|Summarise|Review] [this text|War and Peace|the market|this data|two contracts|my article|the strategy].", "[What is the formula of|What is the mass of|What is the temperature of|How fast is|How heavy is] [water|light|the Sun|the Earth|sulphuric acid|sound|an electron|Jupiter]?",
]


def question(random, language):
    """A line outside the model's domain. A few are noise or of a third language."""
    dice = random.random()
    if dice < 0.05:
        return random.choice(FOREIGN)
    if dice < 0.1:
        letters = "йцукенгшщзхфывапролджэячсмитьбю" if language == "ru" else "qwertyuiopasdfghjklzxcvbnm"
        return " ".join(
            "".join(random.choice(letters) for _ in range(random.randrange(3, 9))) for _ in range(random.randrange(1, 5))
        )
    if dice < 0.15:
        return " ".join(plain(random, language) for _ in range(random.choice([2, 2, 3])))
    return plain(random, language)


def plain(random, language):
    russian = language == "ru"
    filled = {
        "country": random.choice(COUNTRIES_RU if russian else COUNTRIES_EN), "topic": random.choice(TOPICS_RU if russian else TOPICS_EN),
        "person": random.choice(PEOPLE_RU if russian else PEOPLE_EN), "code": random.choice(CODE),
        "thing": random.choice(THINGS_RU if russian else THINGS_EN), "long": random.choice(LONG_RU if russian else LONG_EN),
        "language": random.choice(LANGUAGES_RU if russian else LANGUAGES_EN), "big": random.randrange(30, 2000),
        "big2": random.randrange(21, 900), "small": random.randrange(2, 9), "ill": random.choice(ILLS_RU if russian else ILLS_EN),
    }
    return expand(random, random.choice(QUESTIONS_RU if russian else QUESTIONS_EN), filled)
