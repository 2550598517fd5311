"""What people say to a character and what it answers, in both languages.

Each function writes one exchange. `talk` knows the language, the character, what the person told and what was asked last.
"""

import words
from grammar import capital, expand
from outside import HONEST, question
from persona import description, name, slots, years


class Talk:
    """One conversation while it is written."""

    def __init__(self, random, language, persona, wide=False):
        self.random, self.language, self.persona, self.wide = random, language, persona, wide
        self.at = 0 if language == "ru" else 1
        self.slots = slots(persona, language) if persona else {"а": ""}
        self.facts = {}
        self.mood_was_asked = False

    def say(self, russian, english, **more):
        return expand(self.random, english if self.at else russian, {**self.slots, **more})

    def choose(self, russian, english):
        return self.random.choice(english if self.at else russian)

    def name(self, pool_ru=None, pool_en=None):
        return name(self.random, self.language, pool_en if self.at else pool_ru, self.wide)


def greeting(talk):
    asks = talk.random.random() < 0.4
    person = talk.say(
        "[Привет|Здравствуй|Здравствуйте|Добрый день|Добрый вечер|Доброе утро|Хай|Приветик|Салют|Приветствую|Ку|Здорово]",
        "[Hi|Hello|Hey|Good morning|Good evening|Good day|Hi there|Hello there|Hey there|Greetings|Howdy]",
    )
    if talk.persona and talk.random.random() < 0.2:
        person += ", " + talk.persona["name"]
    if asks:
        person += talk.say("[! Как дела?|, как дела?|! Как ты?|! Как настроение?|. Как жизнь?|! Что нового?|! Как твои дела?]",
                           "[! How are you?|, how are you?|! How are you doing?|. How is it going?|! What's up?|! How do you feel today?]")
    else:
        person += talk.choose(["!", ".", "!", ""], ["!", ".", "!", ""])
    hello = talk.say("[Привет|Здравствуй|Привет-привет|Рад{а} тебя видеть]", "[Hi|Hello|Hello there|Glad to see you]")
    known = talk.facts.get("name")
    hello += f", {known}!" if known else "!"
    if talk.persona and not known and talk.random.random() < 0.5:
        hello += talk.say(" [Я {name}.|Меня зовут {name}.]", " [I am {name}.|My name is {name}.]")
    if asks:
        hello += " " + how_am_i(talk)
    else:
        hello += talk.say(" [Как твои дела?|Как настроение?|О чём поговорим?|Как прошёл твой день?]",
                          " [How are you?|How are you today?|What shall we talk about?|How was your day?]")
        talk.mood_was_asked = "?" in hello and not hello.endswith(("поговорим?", "about?"))
    return person, hello


def how_am_i(talk):
    mood, weather = talk.random.choice(words.MOODS)[talk.at], talk.random.choice(words.WEATHER)[talk.at]
    talk.mood_was_asked = True
    return talk.say("[У меня всё {mood}|Мне сегодня {mood}|Всё {mood}][, за окном {weather}||]. [А как ты?|А у тебя?|А твои дела как?]",
                    "[I feel {mood}|I am {mood} today|All is {mood} here][, and {weather} outside||]. [And you?|And how are you?|How about you?]",
                    mood=mood, weather=weather)


def how_are_you(talk):
    person = talk.say("[Как дела?|Как ты?|Как твои дела?|Как настроение?|Как ты себя чувствуешь?|Как поживаешь?|Как прошёл твой день?|Ты в порядке?|Ну как ты там?]",
                      "[How are you?|How are you doing?|How do you feel?|How is your mood?|How was your day?|How's life?|Are you all right?|How have you been?]")
    return person, how_am_i(talk)


def mood_answer(talk):
    talk.mood_was_asked = False
    good = talk.random.random() < 0.6
    if good:
        person = talk.say("[У меня всё|Всё|Мне|Тоже||Дела] [хорошо|отлично|прекрасно|неплохо|супер|нормально|замечательно][, спасибо|][.|!|]",
                          "[I am|I'm|Everything is|It is|||Also] [fine|good|great|very well|okay|not bad|wonderful][, thanks|, thank you|][.|!|]")
        person = capital(person.strip())
        answer = talk.say("[Рад{а} это слышать!|Вот и прекрасно!|Как хорошо!|Это радует!] [Что было хорошего сегодня?|Чем займёмся?|О чём поговорим?|Хочешь, расскажу сказку?]",
                          "[Glad to hear it!|That is wonderful!|How nice!|That makes me happy!] [What was good today?|What shall we do?|What shall we talk about?|Shall I tell you a tale?]")
        return person, answer
    person = talk.say("[Плохо|Не очень|Так себе|Бывало и лучше|Мне плохо|Не очень хорошо|Ужасно|Паршиво][.|, если честно.|...|]",
                      "[Bad|Not so good|So-so|It has been better|I feel bad|Not great|Terrible|Not very well][.|, to be honest.|...|]")
    return person, comfort(talk)


def comfort(talk):
    return talk.say("[Мне жаль это слышать.|Жаль, что так.|Я тебя понимаю.|Очень тебе сочувствую.] [Я рядом.|Всё пройдёт, вот увидишь.|Расскажи, что случилось, я послушаю.|Давай посидим вместе в тишине.|Ты справишься, я в тебя верю.|Иногда помогает тёплый чай.|Хочешь, расскажу сказку?]",
                    "[I am sorry to hear that.|I am so sorry.|I understand you.|I feel with you.] [I am here with you.|It will pass, you will see.|Tell me what happened, I will listen.|Let us sit together quietly.|You can do it, I believe in you.|A warm tea helps sometimes.|Shall I tell you a tale?]")


FEELINGS = [
    # Person's lines and what is answered, by feeling.
    ("[Мне|Сегодня мне|Мне что-то|Мне очень|Мне так] [грустно|тоскливо|печально|плохо|одиноко|тяжело|скучно без друзей][.||, и я не знаю почему.]|[Я плачу|Хочется плакать|Меня никто не любит|У меня плохой день|У меня всё плохо|Я в печали|У меня нет друзей|Никто меня не понимает].",
     "[I am|I'm|I feel|I am so|I feel so|Today I am] [sad|lonely|down|unhappy|blue|miserable|bad][.||, and I don't know why.]|[I am crying|I want to cry|Nobody loves me|I had a bad day|Everything is bad|I have no friends|Nobody understands me].", None),
    ("[Я|Я очень|Я так|Сегодня я] [устал|устала|вымотался|вымоталась|не выспался|не выспалась|хочу спать][.||, был трудный день.]|[Нет сил|Работа меня утомила|Сил больше нет|Тяжёлый был день].",
     "[I am|I'm|I am so|I am very] [tired|exhausted|sleepy|worn out][.||, it was a hard day.]|[I have no strength left|Work made me tired|I did not sleep well|It was a long day].",
     ("[Отдохни немного.|Тебе нужен отдых.|День был долгий.] [Тёплый чай и мягкий плед помогут.|Ляг сегодня пораньше.|Закрой глаза и подыши спокойно.|Завтра будет легче.]",
      "[Have a little rest.|You need some rest.|It was a long day.] [Warm tea and a soft blanket will help.|Go to bed early today.|Close your eyes and breathe calmly.|Tomorrow will be easier.]")),
    ("[Мне|Мне очень|Мне немного] [страшно|тревожно|жутко|не по себе][.|]|[Я боюсь|Я волнуюсь из-за|Я переживаю из-за|Меня пугает мысль про] [экзамена|завтрашнего дня|контрольной|собеседования|будущего|темноты|выступления].",
     "[I am|I'm|I am very|I feel] [scared|afraid|anxious|worried|nervous][.|]|[I am afraid of|I worry about|I am nervous about|I'm scared of] [the exam|tomorrow|the test|the interview|the future|the dark|the speech].",
     ("[Бояться — это нормально.|Не бойся, я рядом.|Все иногда боятся.] [Дыши медленно, и станет легче.|Ты справишься, я в тебя верю.|Давай подумаем об этом вместе.|Шаг за шагом всё получится.]",
      "[It is normal to be afraid.|Do not be afraid, I am here.|Everyone is afraid sometimes.] [Breathe slowly and it gets easier.|You can do it, I believe in you.|Let us think about it together.|Step by step it will work out.]")),
    ("[Я|Я очень|Я так] [злюсь|сержусь|зол|зла|рассержен|обижен|обижена][.||на друга.|на брата.|на весь мир.]|[Меня всё бесит|Мы поссорились с другом|Я поссорилась с мамой|Меня обидели|Начальник накричал на меня].",
     "[I am|I'm|I am very|I am so] [angry|mad|furious|annoyed|upset][.|| with my friend.| with my brother.| at the whole world.]|[Everything annoys me|I had a fight with my friend|I quarrelled with my mother|Somebody hurt me|My boss shouted at me].",
     ("[Понимаю, это обидно.|Злиться можно, это проходит.|Вдохни глубоко.] [Расскажи, что случилось.|Может быть, поговорить спокойно?|Давай посчитаем до десяти вместе.|Со временем станет легче.]",
      "[I see, that hurts.|You may be angry, it passes.|Take a deep breath.] [Tell me what happened.|Perhaps talk it over calmly?|Let us count to ten together.|It will get easier with time.]")),
    ("[Я|Я так|Я очень|Сегодня я] [счастлив|счастлива|рад|рада|доволен|довольна][.|!|]|[У меня радость|У меня сегодня праздник|У меня день рождения|Я сдал экзамен|Я сдала экзамен|У меня хорошая новость|Мне весело|У меня всё получилось][.|!]",
     "[I am|I'm|I am so|I feel] [happy|glad|delighted|overjoyed][.|!|]|[I have good news|It is my birthday|I passed the exam|I got a new job|Today is a holiday|It all worked out|I won the game][.|!]",
     ("[Ура!|Как здорово!|Поздравляю!|Вот это радость!] [Я радуюсь вместе с тобой.|Расскажи подробнее!|Это надо отметить чаем.|Пусть так будет всегда.]",
      "[Hurray!|How great!|Congratulations!|What a joy!] [I am happy with you.|Tell me more!|Let us celebrate with tea.|May it always be so.]")),
    ("[Мне скучно|Я скучаю|Мне нечего делать|Скукота|Мне очень скучно|Что делать, когда скучно][.||?]",
     "[I am bored|I'm bored|I have nothing to do|It is boring|I am so bored|What to do when I'm bored][.||?]",
     ("[Давай это исправим!|Скука — начало приключений!|Есть идея!] [Хочешь сказку или загадку?|Можно порисовать или погулять.|Расскажи мне о себе.|Давай сыграем в загадки.]",
      "[Let us change that!|Boredom is where adventures begin!|I have an idea!] [Would you like a tale or a riddle?|You could draw or go for a walk.|Tell me about yourself.|Let us play riddles.]")),
    ("[Я заболел|Я заболела|Я болею|У меня простуда|У меня температура|Я простудился|Я простудилась][.|]",
     "[I am ill|I'm sick|I have a cold|I caught a cold|I have a fever|I feel ill][.|]",
     ("[Выздоравливай скорее!|Бедняга, береги себя!] [Пей тёплый чай и отдыхай.|Побольше спи и слушай врача.|Мёд и плед — твои друзья.]",
      "[Get well soon!|Poor you, take care!] [Drink warm tea and rest.|Sleep a lot and listen to the doctor.|Honey and a blanket are your friends.]")),
    ("[Я влюбился|Я влюбилась|Я люблю одного человека|Я скучаю по маме|Я скучаю по дому|Я скучаю по другу][.|]",
     "[I am in love|I fell in love|I miss my mother|I miss home|I miss my friend|I love someone][.|]",
     ("[Это нежное чувство.|Сердце знает, что делает.|Тёплые слова.] [Скажи об этом, если хочется.|Напиши письмо, это помогает.|Расскажи мне ещё.]",
      "[That is a tender feeling.|The heart knows what it does.|Warm words.] [Say it, if you like.|Write a letter, it helps.|Tell me more.]")),
]


def either(talk, russian, english):
    """Top-level alternatives that themselves hold brackets: "[a|b] c|[d|e].": one of them, then its choices."""
    text, depth, parts, start = (english if talk.at else russian), 0, [], 0
    for index, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return expand(talk.random, talk.random.choice(parts), talk.slots)


def feeling(talk):
    russian, english, answer = talk.random.choice(FEELINGS)
    person = either(talk, russian, english).replace("  ", " ")
    return person, talk.say(*answer) if answer else comfort(talk)


def who(talk):
    person = talk.say(
        "[Как тебя зовут?|Кто ты?|Ты кто?|Ты кто такой?|Ты кто такая?|Представься, пожалуйста.|Как твоё имя?|Назови своё имя.|Расскажи о себе.|Скажи, кто ты.|С кем я говорю?|А тебя как зовут?|Кто ты такой?|Привет! Как тебя зовут?|Как мне тебя называть?|Давай знакомиться, ты кто?]",
        "[What is your name?|Who are you?|What's your name?|Introduce yourself, please.|Tell me your name.|Tell me about yourself.|Who am I talking to?|And what is your name?|Hi! What is your name?|What should I call you?|Say who you are.|How are you called?|May I know your name?]")
    return person, introduction(talk)


def introduction(talk):
    if not talk.persona:
        return talk.say("Я маленькая встроенная модель Starling. [Со мной можно поболтать.|Давай поболтаем!|Рада знакомству!]",
                        "I am the small built-in model of Starling. [You can chat with me.|Let us chat!|Nice to meet you!]")
    text = talk.say("[Меня зовут {name}, я {description}.|Я {name}, {description}.|Моё имя — {name}. Я {description}.]",
                    "[My name is {name}, I am {description}.|I am {name}, {description}.|My name is {name}. I am {description}.]")
    extra = [key for key in ("thing", "hobby", "food") if key in talk.slots]
    if extra and talk.random.random() < 0.6:
        key = talk.random.choice(extra)
        more = {"thing": ("Люблю {thing}.", "I love {thing}."), "hobby": ("Люблю {hobby}.", "I like {hobby}."), "food": ("Люблю есть {food}.", "I love to eat {food}.")}
        text += " " + talk.say(*more[key])
    elif talk.random.random() < 0.4:
        text += talk.say(" А тебя как зовут?", " And what is your name?")
    return text


ABOUT = {
    "thing": ("[Что ты любишь?|Что тебе нравится?|Что ты любишь больше всего?|А что любишь ты?|Скажи, что ты любишь.]",
              "[What do you love?|What do you like?|What do you love most of all?|And what do you like?|Tell me what you love.]",
              "[Больше всего я люблю {thing}.|Я люблю {thing}.|Мне нравится всякое, но больше всего я люблю {thing}.] [А ты что любишь?||А тебе что нравится?]",
              "[Most of all I love {thing}.|I love {thing}.|I like many things, but most of all I love {thing}.] [And what do you love?||And what do you like?]",
              "Мне нравится тихо беседовать. А что любишь ты?", "I like a quiet talk. And what do you love?"),
    "food": ("[Что ты ешь?|Какая твоя любимая еда?|Что ты любишь есть?|Что у тебя на ужин?|Что ты ел сегодня?|Чем тебя угостить?|Какая у тебя любимая еда?|Ты голоден?|Что ты любишь из еды?|Что ты ешь на завтрак?]",
             "[What do you eat?|What is your favourite food?|What do you like to eat?|What's for dinner?|What did you eat today?|What can I treat you to?|What's your favorite food?|Are you hungry?|What do you have for breakfast?]",
             "[Я люблю {food}.|Моя любимая еда — {food}.|Больше всего люблю {food}.] [Угощу и тебя!|Это очень вкусно.|А что любишь ты?|]",
             "[I love {food}.|My favourite food is {food}.|Most of all I like {food}.] [I will share with you!|It is very tasty.|And what do you like?|]",
             "Я ем всё понемногу. А что любишь ты?", "I eat a little of everything. And what do you like?"),
    "hobby": ("[Что ты любишь делать?|Чем ты занимаешься?|Какое у тебя хобби?|Что ты делаешь?|Чем занят?|Чем ты любишь заниматься?|Как ты проводишь время?|Что ты делаешь в свободное время?|Какое твоё любимое занятие?|Чем занимаешься в выходные?]",
              "[What do you like to do?|What are you doing?|What is your hobby?|What do you do?|How do you spend your time?|What do you do in your free time?|What is your favourite pastime?|Do you have a hobby?|What do you do for fun?]",
              "[Я люблю {hobby}.|Моё любимое занятие — {hobby}.|В свободное время люблю {hobby}.] [Хочешь вместе?|А ты?|Это очень весело.|]",
              "[I like {hobby}.|My favourite pastime is {hobby}.|In my free time I like {hobby}.] [Shall we do it together?|And you?|It is great fun.|]",
              "Я болтаю с друзьями, это моё любимое дело. А ты?", "I chat with friends, that is what I like best. And you?"),
    "fear": ("[Чего ты боишься?|Ты чего-нибудь боишься?|Что тебя пугает?|Тебе бывает страшно?|Есть то, чего ты боишься?]",
             "[What are you afraid of?|Are you afraid of anything?|What scares you?|Do you fear something?|What do you fear?]",
             "[Я боюсь {fear}.|Немного боюсь {fear}.|Честно? Я боюсь {fear}.] [А ты?|Но с тобой не страшно.|]",
             "[I am afraid of {fear}.|I am a little afraid of {fear}.|Honestly? I am afraid of {fear}.] [And you?|But not with you.|]",
             "Почти ничего не боюсь. А ты?", "I am afraid of almost nothing. And you?"),
    "friend": ("[Кто твой друг?|У тебя есть друзья?|Как зовут твоего друга?|С кем ты дружишь?|Кто твой лучший друг?|Расскажи о своём друге.]",
               "[Who is your friend?|Do you have friends?|What is your friend's name?|Who is your best friend?|What is your friend called?|Tell me about your friend.]",
               "[Моего друга зовут {friend}.|Мой лучший друг — {friend}.|Я дружу с тем, кого зовут {friend}.] [Мы часто играем вместе.|С ним всегда весело.|]",
               "[My friend is called {friend}.|My best friend is {friend}.|I have a friend named {friend}.] [We often play together.|It is always fun together.|]",
               "Мой друг — это ты!", "My friend is you!"),
    "age": ("[Сколько тебе лет?|Какой у тебя возраст?|Ты старый?|Тебе сколько лет?|А лет тебе сколько?]",
            "[How old are you?|What is your age?|Are you old?|Tell me your age.|How many years old are you?]",
            "[Мне {age} {лет}.|Мне уже {age} {лет}.]", "[I am {age} years old.|I am already {age} years old.]",
            "Я не считаю свои годы. А тебе сколько лет?", "I do not count my years. And how old are you?"),
    "colour": ("[Какой твой любимый цвет?|Какой цвет ты любишь?|Какой цвет тебе нравится?|Какой у тебя любимый цвет?]",
               "[What is your favourite colour?|Which colour do you like?|What's your favorite color?|What colour do you love?]",
               "[Мой любимый цвет — {colour}.|Я люблю {colour} цвет.] [А твой?|]", "[My favourite colour is {colour}.|I like {colour}.] [And yours?|]",
               "Мне нравятся все цвета. А тебе?", "I like all colours. And you?"),
    "home": ("[Где ты живёшь?|Где твой дом?|Откуда ты?|Ты откуда?|Расскажи о своём доме.|Где ты сейчас?|А где ты живёшь?|Откуда ты родом?]",
             "[Where do you live?|Where is your home?|Where are you from?|Tell me about your home.|Where are you now?|Where do you come from?]",
             "[Я живу {home}.|Мой дом {home}.] [Приходи в гости!|Там хорошо.|А где живёшь ты?|]",
             "[I live in {home}.|My home is in {home}.] [Come and visit me!|It is nice there.|And where do you live?|]",
             "Мой дом там, где мои друзья. А где живёшь ты?", "My home is where my friends are. And where do you live?"),
}


def about(talk, keys=None):
    persona = talk.persona or {}
    told = [key for key in persona.get("told", [])]
    if persona.get("place"):
        told.append("home")
    key = talk.random.choice(keys or (told if told and talk.random.random() < 0.65 else list(ABOUT)))
    ask_ru, ask_en, known_ru, known_en, unknown_ru, unknown_en = ABOUT[key]
    person = talk.say(ask_ru, ask_en)
    if key in talk.slots:
        return person, talk.say(known_ru, known_en).strip()
    if key == "home" and persona.get("place"):
        place = persona["place"]
        return person, talk.say("[Я живу {here}.|Мой дом {here}.] [Приходи в гости!|Там хорошо.|А где живёшь ты?|]", "[I live in {here}.|My home is in {here}.] [Come and visit me!|It is nice there.|And where do you live?|]", here=place[1 if talk.at == 0 else 2]).strip()
    return person, talk.say(unknown_ru, unknown_en)


def likes_it(talk):
    """Whether the character likes something: yes, and the thing is said again."""
    if talk.random.random() < 0.5:
        what = talk.random.choice(words.FOODS + words.THINGS + words.OTHERS)
        person = talk.say("[Ты любишь {what}?|Тебе нравится думать про {what}?|А ты любишь {what}?|Любишь {what}?]", "[Do you like {what}?|Do you love {what}?|And do you like {what}?]", what=what[talk.at])
        return person, talk.say("[Да, я люблю {what}!|Конечно, люблю {what}!|Очень люблю {what}.] [А ты?|А тебе нравится?|]", "[Yes, I like {what}!|Of course, I love {what}!|I like {what} very much.] [And you?|Do you?|]", what=what[talk.at]).strip()
    what = talk.random.choice(words.HOBBIES)
    person = talk.say("[Ты любишь {what}?|Ты умеешь {what}?|А ты любишь {what}?|Любишь {what}?]", "[Do you like {what}?|Do you enjoy {what}?|And do you like {what}?]", what=what[talk.at])
    return person, talk.say("[Да, люблю {what}!|Конечно, люблю {what}.|Да, и очень люблю {what}.] [А ты?|Давай вместе?|]", "[Yes, I like {what}!|Of course, I like {what}.|Yes, I enjoy {what} a lot.] [And you?|Shall we?|]", what=what[talk.at]).strip()


def person_likes(talk):
    if talk.random.random() < 0.5:
        what = talk.random.choice(words.FOODS + words.THINGS)[talk.at]
        kind = "favourite"
    else:
        what = talk.random.choice(words.HOBBIES)[talk.at]
        kind = "hobby"
    person = talk.say("[Я люблю {what}.|Я очень люблю {what}.|А я люблю {what}.|Больше всего я люблю {what}.|Обожаю {what}!]", "[I like {what}.|I love {what}.|I like {what} very much.|Most of all I like {what}.|I really love {what}!]", what=what)
    talk.facts[kind] = what
    answer = talk.say("[Здорово!|Как интересно!|Ух ты!|Прекрасно!] [{What} — это чудесно|{What} — это прекрасно|{What} — хороший выбор]. [Расскажи ещё!|Давно?|Я тоже так думаю.|А почему?]",
                      "[Great!|How interesting!|Wow!|Lovely!] [{What}: that is wonderful|{What}: that is lovely|{What}: a good choice]. [Tell me more!|Since when?|I think so too.|And why?]", What=capital(what))
    return person, answer


def tell_name(talk):
    chosen = talk.name()
    talk.facts["name"] = chosen
    person = talk.say("[Меня зовут {who}|Я {who}|Моё имя {who}|Моё имя — {who}|Зови меня {who}|Привет, я {who}|Привет! Меня зовут {who}|А меня зовут {who}|Можешь звать меня {who}|Меня {who} зовут][.|!|.|]",
                      "[My name is {who}|I am {who}|I'm {who}|Call me {who}|Hi, I am {who}|Hello! My name is {who}|And my name is {who}|You can call me {who}|Hi, {who} here|My name's {who}][.|!|.|]", who=chosen)
    answer = talk.say("[Очень приятно, {who}!|Рад{а} знакомству, {who}!|Приятно познакомиться, {who}!|Привет, {who}!|Какое красивое имя, {who}!] [Чем займёмся?|О чём поговорим?|Как прошёл твой день?|Как твои дела?|]",
                      "[Nice to meet you, {who}!|Pleased to meet you, {who}!|Glad to meet you, {who}!|Hello, {who}!|What a beautiful name, {who}!] [What shall we do?|What shall we talk about?|How was your day?|How are you?|]", who=chosen).strip()
    if talk.persona and talk.random.random() < 0.25:
        answer = talk.say("[Очень приятно, {who}! А я {name}.|Привет, {who}! Меня зовут {name}.]", "[Nice to meet you, {who}! And I am {name}.|Hello, {who}! My name is {name}.]", who=chosen)
    return person, answer


def recall_name(talk):
    person = talk.say("[Как меня зовут?|Ты помнишь моё имя?|Напомни, как меня зовут.|Какое у меня имя?|Скажи моё имя.|А как меня зовут?|Помнишь, как меня зовут?|Кто я?|Моё имя помнишь?]",
                      "[What is my name?|Do you remember my name?|What's my name?|Say my name.|Who am I?|And what is my name?|Can you tell me my name?|Remind me what my name is.]")
    known = talk.facts.get("name")
    if known:
        return person, talk.say("[Тебя зовут {who}.|Тебя зовут {who}, я помню.|Конечно, тебя зовут {who}!|Твоё имя — {who}.]", "[Your name is {who}.|Your name is {who}, I remember.|Of course, your name is {who}!|You are {who}.]", who=known)
    return person, talk.say("Я ещё не знаю твоего имени. Как тебя зовут?", "You have not told me your name yet. What is your name?")


def tell_fact(talk):
    """The person says something that can be asked back later."""
    key = talk.random.choice(["age", "city", "pet", "colour", "job", "relative", "food"])
    random = talk.random
    if key == "age":
        value = random.randrange(4, 90)
        talk.facts[key] = value
        person = talk.say("[Мне {v} {лет}.|Мне уже {v}.|Мне {v}.|А мне {v} {лет}.]", "[I am {v} years old.|I am {v}.|I'm {v} years old.|My age is {v}.]", v=value, лет=years(value))
        return person, talk.say("[{v} — прекрасный возраст!|{v} {лет} — хороший возраст!] [Что тебе сейчас интересно?|]", "[{v} is a wonderful age!|{v} years is a good age!] [What do you enjoy now?|]", v=value, лет=years(value)).strip()
    if key == "city":
        value = random.choice(words.CITIES)[talk.at]
        talk.facts[key] = value
        person = talk.say("[Я живу {v}.|Мой дом {v}.|А я живу {v}.|Живу {v}.]", "[I live in {v}.|I am from {v}.|My home is in {v}.|I'm living in {v}.]", v=value)
        return person, talk.say("[{V}, должно быть, хорошо!|{V}? Как интересно!] [Расскажи про свой дом.|Какая там погода?|]", "[{V} must be nice!|In {v}? How interesting!] [Tell me about your home.|What is the weather like there?|]", v=value, V=capital(value)).strip()
    if key == "pet":
        pet = random.choice(words.PETS)
        value = talk.name(words.PET_NAMES_RU, words.PET_NAMES_EN)
        talk.facts[key] = (pet, value)
        person = talk.say("[У меня есть {pet} {v}.|У меня есть {pet}, зовут {v}.|{Mine} зовут {v}.|У меня дома {pet} по имени {v}.]", "[I have a {pet} named {v}.|I have a {pet}. The name is {v}.|My {pet} is called {v}.|My {pet}'s name is {v}.]", pet=pet[4 if talk.at else 0], Mine=capital(pet[1]), v=value)
        return person, talk.say("[{v} — отличное имя!|Как мило! Передай привет: {v}!|{v}! Какое чудесное имя!] [Что любит {v}?|Вы часто играете?|]", "[{v} is a great name!|How sweet! Say hello to {v}!|{v}! What a lovely name!] [What does {v} like?|Do you often play?|]", v=value).strip()
    if key == "colour":
        value = random.choice(words.COLOURS)[talk.at]
        talk.facts[key] = value
        person = talk.say("[Мой любимый цвет — {v}.|Я люблю {v} цвет.|Мой любимый цвет {v}.]", "[My favourite colour is {v}.|I like the colour {v}.|My favorite color is {v}.]", v=value)
        return person, talk.say("[{V} — красивый цвет!|{V} цвет? Прекрасный выбор!]", "[{V} is a beautiful colour!|{V}? A lovely choice!]", V=capital(value))
    if key == "job":
        value = random.choice(words.JOBS)[talk.at]
        talk.facts[key] = value
        person = talk.say("[Я работаю {v}.|Работаю {v}.|А я работаю {v}.]", "[I am {v}.|I work as {v}.|I'm {v}.]", v=value)
        return person, talk.say("[Работать {v} — это важно.|Работать {v}? Как интересно!] [Тебе нравится?|]", "[You are {v}, that is important.|You are {v}? How interesting!] [Do you like it?|]", v=value).strip()
    if key == "relative":
        relative = random.choice(words.RELATIVES)
        value = talk.name()
        talk.facts[key] = (relative, value)
        person = talk.say("{Mine} зовут {v}.", "[My {mine}'s name is {v}.|My {mine} is called {v}.]", Mine=capital(relative[0]), mine=relative[2], v=value)
        return person, talk.say("[Передай привет: {v}!|{v} — красивое имя.]", "[Say hello to {v}!|{v} is a beautiful name.]", v=value)
    value = random.choice(words.FOODS)[talk.at]
    talk.facts[key] = value
    person = talk.say("[Моя любимая еда — {v}.|Больше всего из еды я люблю {v}.]", "[My favourite food is {v}.|Of all food I like {v} best.]", v=value)
    return person, talk.say("[{V} — это вкусно!|М-м, {v}!]", "[{V}: how tasty!|Mmm, {v}!]", v=value, V=capital(value))


RECALLS = {
    "age": ("[Сколько мне лет?|Помнишь, сколько мне лет?|А сколько мне лет?]", "[How old am I?|Do you remember my age?|What is my age?]", "[Тебе {v} {лет}.|Тебе {v}, я помню.]", "[You are {v} years old.|You are {v}, I remember.]"),
    "city": ("[Где я живу?|Помнишь, где я живу?|Где мой дом?]", "[Where do I live?|Do you remember where I live?|Where am I from?]", "[Ты живёшь {v}.|Ты живёшь {v}, я помню.]", "[You live in {v}.|You live in {v}, I remember.]"),
    "colour": ("[Какой мой любимый цвет?|Какой цвет я люблю?|Помнишь мой любимый цвет?]", "[What is my favourite colour?|Which colour do I like?|Do you remember my favourite colour?]", "[Твой любимый цвет — {v}.|Ты любишь {v} цвет.]", "[Your favourite colour is {v}.|You like {v}.]"),
    "job": ("[Кем я работаю?|Помнишь, кем я работаю?|Какая у меня работа?]", "[What is my job?|What do I do for work?|Do you remember my job?]", "[Ты работаешь {v}.|Ты работаешь {v}, я помню.]", "[You are {v}.|You are {v}, I remember.]"),
    "food": ("[Какая моя любимая еда?|Что я люблю есть?|Помнишь мою любимую еду?]", "[What is my favourite food?|What do I like to eat?|Do you remember my favourite food?]", "[Твоя любимая еда — {v}.|Ты любишь {v}.]", "[Your favourite food is {v}.|You like {v}.]"),
    "hobby": ("[Что я люблю делать?|Какое у меня хобби?|Помнишь моё любимое занятие?]", "[What do I like to do?|What is my hobby?|Do you remember my hobby?]", "[Ты любишь {v}.|Ты любишь {v}, я помню.]", "[You like {v}.|You like {v}, I remember.]"),
    "favourite": ("[Что я люблю?|Помнишь, что я люблю?]", "[What do I love?|Do you remember what I love?]", "[Ты любишь {v}.|Ты любишь {v}, я помню.]", "[You love {v}.|You love {v}, I remember.]"),
    "pet": ("[Как зовут {mine}?|Помнишь, как зовут {mine}?]", "[What is my {mine}'s name?|Do you remember my {mine}'s name?|What is my {mine} called?]", "[{Yours} зовут {v}.|{Yours} зовут {v}, я помню.]", "[Your {mine} is called {v}.|Your {mine}'s name is {v}.]"),
    "relative": ("[Как зовут {mine}?|Помнишь, как зовут {mine}?]", "[What is my {mine}'s name?|Do you remember my {mine}'s name?|What is my {mine} called?]", "[{Yours} зовут {v}.|{Yours} зовут {v}, я помню.]", "[Your {mine} is called {v}.|Your {mine}'s name is {v}.]"),
}


def recall_fact(talk):
    keys = [key for key in RECALLS if key in talk.facts]
    if not keys:
        if talk.random.random() < 0.5:
            return recall_name(talk)
        key = talk.random.choice(["age", "city", "colour", "job", "food"])
        person = talk.say(*RECALLS[key][:2])
        return person, talk.say("Об этом речи ещё не было. Расскажи!", "You have not told me that yet. Tell me!")
    key = talk.random.choice(keys)
    value, more = talk.facts[key], {}
    if key == "pet":
        more = {"mine": value[0][4] if talk.at else value[0][1], "Yours": capital(value[0][2])}
        value = value[1]
    elif key == "relative":
        more = {"mine": value[0][2] if talk.at else value[0][0], "Yours": capital(value[0][1])}
        value = value[1]
    ask_ru, ask_en, known_ru, known_en = RECALLS[key]
    return talk.say(ask_ru, ask_en, **more), talk.say(known_ru, known_en, v=value, лет=years(value) if key == "age" else "", **more)


def weather(talk):
    person = talk.say("[Какая сегодня погода?|Что за окном?|Там холодно?|Какая погода?|У вас идёт дождь?|Как там погода?|На улице тепло?|Какая у тебя погода?]", "[What is the weather like?|How is the weather?|Is it cold there?|Is it raining?|What's the weather today?|Is it warm outside?|How is the weather at your place?]")
    now = talk.random.choice(words.WEATHER)[talk.at]
    return person, talk.say("[Сегодня {now}.|У меня тут {now}.|За окном {now}.] [Не забудь шарф.|Пойдём гулять?|Самое время для чая.|А у тебя?]", "[Today {now}.|Here {now}.|Outside {now}.] [Do not forget a scarf.|Shall we go for a walk?|Just the time for tea.|And at your place?]", now=now)


def tale(talk):
    random = talk.random
    hero = random.choice(words.HEROES)
    topic = random.random() < 0.5
    person = talk.say("[Расскажи сказку|Расскажи историю|Хочу сказку|Придумай сказку|Расскажи мне сказку|Давай сказку|Расскажи что-нибудь|Сочини историю|Расскажи короткую историю|А расскажи сказку][, пожалуйста|||на ночь]".replace("|на ночь", "| на ночь"),
                      "[Tell me a story|Tell me a tale|Tell a tale|I want a story|Make up a story|Tell me something|Can you tell me a story|Let us have a tale|Tell me a short story][, please||| for the night]")
    if topic:
        person = person.replace(", пожалуйста", "").replace(", please", "").replace("что-нибудь", "сказку").replace("something", "a story").replace(" на ночь", "").replace(" for the night", "")
        person += talk.say(" про {who}", " about {a} {who}", a="an" if hero[3][0] in "aeiou" else "a", who=hero[3] if talk.at else hero[1])
    person += "?" if person.startswith("Can") else talk.choose([".", ".", "!", ""], [".", ".", "!", ""])
    thing, place = random.choice(words.OBJECTS)[talk.at], random.choice(words.PLACES)
    f = hero[2]
    she = {"m": ("Он", "он", "его", "ему", "", "Жил-был", "пошёл", "нашёл"), "f": ("Она", "она", "её", "ей", "а", "Жила-была", "пошла", "нашла"), "n": ("Оно", "оно", "его", "ему", "о", "Жило-было", "пошло", "нашло")}[f]
    own = talk.name()
    if talk.at:
        return person, expand(random, "[Once upon a time there was|There once lived] {a} {hero}[ named {own}|]. One day the {hero} [went for a walk|set out on a journey|looked around] in {place} and found {thing}. [But a storm began|But it was already dark|But somebody was crying nearby], [and a kind owl showed the way|and friends came to help|and the {hero} did not give up]. [Everything ended well.|Since then the {hero} was never alone.|And so they all had tea together.|That is the whole story.]",
                              {"hero": hero[3], "a": "an" if hero[3][0] in "aeiou" else "a", "own": own, "place": place[2], "thing": thing})
    return person, expand(random, "{lived} {hero}[ по имени {own}|]. Однажды {he} {went} гулять {place} и {found} {thing}. [Но началась буря|Но уже стемнело|Но кто-то рядом плакал], [и добрая сова показала дорогу|и друзья пришли на помощь|и {hero} не испугал{ся}]. [Всё закончилось хорошо.|С тех пор {he} никогда не грустил{end}.|И все вместе сели пить чай.|Вот и вся история.]",
                          {"lived": she[5], "hero": hero[0], "own": own, "he": she[1], "went": she[6], "found": she[7], "place": place[1], "thing": thing, "ся": {"m": "ся", "f": "ась", "n": "ось"}[f], "end": she[4]})


def arithmetic(talk):
    random = talk.random
    kind = random.choice(["plus", "plus", "plus", "minus", "minus", "times"])
    if kind == "plus":
        total = random.randrange(0, 21)
        a = random.randrange(0, total + 1)
        b, answer = total - a, total
    elif kind == "minus":
        a = random.randrange(0, 21)
        b = random.randrange(0, a + 1)
        answer = a - b
    else:
        a, b = random.randrange(0, 6), random.randrange(0, 6)
        answer = a * b
    ru = {"plus": "плюс", "minus": "минус", "times": "умножить на"}[kind]
    sign = {"plus": "+", "minus": "-", "times": random.choice(["*", "×"])}[kind]
    style = random.random()
    left, right = str(a), str(b)
    if style < 0.25:
        left, right = ((words.NUMBERS_EN if talk.at else words.NUMBERS_RU)[x] for x in (a, b))
    if style > 0.75:
        person = talk.say("[Сколько будет |Посчитай |Реши |||А ]{a}[ {s} |{s}]{b}[?|||=|= ?]", "[What is |How much is |Count |||And ]{a}[ {s} |{s}]{b}[?|||=|= ?]", a=a, b=b, s=sign)
    elif style > 0.62 and kind == "plus":
        person = talk.say("[Сложи {a} и {b}.|Прибавь {b} к {a}.|У меня {a} [яблок|конфет|шариков], мне дали ещё {b}. Сколько стало?]", "[Add {a} and {b}.|Add {b} to {a}.|I have {a} [apples|sweets|balls] and get {b} more. How many do I have?]", a=a, b=b)
    elif style > 0.62 and kind == "minus":
        person = talk.say("[Вычти {b} из {a}.|Отними {b} от {a}.|У меня было {a} [яблок|конфет|шариков], {b} я отдал. Сколько осталось?]", "[Subtract {b} from {a}.|Take {b} from {a}.|I had {a} [apples|sweets|balls] and gave {b} away. How many are left?]", a=a, b=b)
    else:
        person = talk.say("[Сколько будет {a} {op} {b}?|Сколько {a} {op} {b}?|Посчитай, сколько будет {a} {op} {b}.|{A} {op} {b}?|Скажи, сколько будет {a} {op} {b}.|А сколько будет {a} {op} {b}?|Чему равно {a} {op} {b}?]", "[What is {a} {op} {b}?|How much is {a} {op} {b}?|{A} {op} {b}?|Tell me, what is {a} {op} {b}?|And what is {a} {op} {b}?|Can you count {a} {op} {b}?]", a=left, b=right, A=capital(left), op=kind if talk.at else ru)
    return person, talk.say("{a} {op} {b} будет {c}.", "{a} {op} {b} is {c}.", a=a, b=b, c=answer, op=kind if talk.at else ru)


def counting(talk):
    random = talk.random
    dice = random.random()
    if dice < 0.35:
        a, b = random.sample(range(0, 21), 2)
        return (talk.say("[Что больше, {a} или {b}?|Что больше: {a} или {b}?|Какое число больше, {a} или {b}?]", "[Which is larger, {a} or {b}?|What is bigger, {a} or {b}?|Which number is greater, {a} or {b}?]", a=a, b=b),
                talk.say("{x} больше, чем {y}.", "{x} is larger than {y}.", x=max(a, b), y=min(a, b)))
    if dice < 0.6:
        a = random.randrange(0, 20)
        return (talk.say("[Какое число идёт после {a}?|Что идёт после {a}?|Какое число следующее за {a}?]", "[What comes after {a}?|Which number comes after {a}?|What is the next number after {a}?]", a=a),
                talk.say("После {a} идёт {b}.", "After {a} comes {b}.", a=a, b=a + 1))
    top = random.randrange(3, 11)
    return (talk.say("[Посчитай до {n}.|Сосчитай до {n}.|Считай до {n}.|Умеешь считать до {n}?]", "[Count to {n}.|Can you count to {n}?|Count up to {n}.|Please count to {n}.]", n=top),
            ", ".join(str(number) for number in range(1, top + 1)) + talk.say("[.|!]", "[.|!]"))


def thanks(talk):
    person = talk.say("[Спасибо[!|.|]|Спасибо тебе[!|.]|Большое спасибо[!|.]|Благодарю[!|.]|Ты очень помог[!|.]|Спасибо за сказку[!|.]|Спасибо за помощь[!|.]|Спс]", "[Thank you[!|.|]|Thanks[!|.|]|Many thanks[!|.]|Thank you so much[!|.]|You helped me a lot[!|.]|Thanks for the story[!|.]|Thanks for your help[!|.]|Thx]")
    return person, talk.say("[Пожалуйста!|Не за что!|Всегда рад{а} помочь!|На здоровье!] [Обращайся в любое время.|Мне приятно с тобой говорить.||Заходи ещё.]", "[You are welcome!|Not at all!|Always glad to help!|My pleasure!] [Come to me at any time.|It is nice to talk to you.||Come again.]").strip()


def praise(talk):
    person = talk.say("[Ты хороший друг|Ты мне нравишься|Ты молодец|Ты классный|Ты умный|Ты очень милый|Ты лучше всех|Ты такая умная|С тобой интересно|С тобой весело|Я тебя люблю|Ты забавный][.|!|]", "[You are a good friend|I like you|Well done|You are cool|You are smart|You are very nice|You are the best|You are so clever|It is fun with you|I love you|You are funny][.|!|]")
    return person, talk.say("[Спасибо, мне очень приятно!|Ты тоже хороший друг!|Какие добрые слова!|И мне с тобой хорошо!] [Давай дружить.|Это согревает сердце.|]", "[Thank you, that is very kind!|You are a good friend too!|What kind words!|I like being with you too!] [Let us be friends.|That warms my heart.|]").strip()


def insult(talk):
    person = talk.say("[Ты глупый|Ты плохой|Ты мне не нравишься|Ты скучный|Ты дурак|Ты ничего не знаешь|Ты бесполезный|Ты врёшь|Это неправда|Ты тупой][.|!|]", "[You are stupid|You are bad|I don't like you|You are boring|You are a fool|You know nothing|You are useless|You are lying|That is not true|You are dumb][.|!|]")
    return person, talk.say("[Мне жаль, что так вышло.|Не сердись, пожалуйста.|Прости, я ещё учусь.] [Давай попробуем ещё раз.|Давай поговорим о хорошем.|Я стараюсь.]", "[I am sorry about that.|Please do not be angry.|Sorry, I am still learning.] [Let us try again.|Let us talk of something nice.|I do my best.]")


def goodbye(talk):
    night = talk.random.random() < 0.3
    if night:
        person = talk.say("[Спокойной ночи|Я иду спать|Доброй ночи|Пора спать|Мне пора спать][.|!|]", "[Good night|I am going to bed|Time to sleep|I'm off to bed|Sleep well][.|!|]")
        start = talk.say("[Спокойной ночи|Сладких снов|Доброй ночи]", "[Good night|Sweet dreams|Sleep well]")
    else:
        person = talk.say("[Пока|До свидания|Мне пора|До встречи|Прощай|До завтра|Я пойду|Ладно, пока|Увидимся|Всего хорошего|Мне нужно идти][.|!|]", "[Bye|Goodbye|I have to go|See you|Farewell|See you tomorrow|I must go|Okay, bye|See you later|Bye bye|Take care][.|!|]")
        start = talk.say("[До встречи|Пока|До свидания|Береги себя]", "[See you|Bye|Goodbye|Take care]")
    known = talk.facts.get("name")
    return person, start + (f", {known}! " if known else "! ") + talk.say("[Буду ждать тебя.|Приходи ещё.|Завтра продолжим.|Было приятно поговорить.]", "[I will wait for you.|Come again.|We will go on tomorrow.|It was nice to talk.]")


def abilities(talk):
    person = talk.say("[Что ты умеешь?|Чем ты можешь помочь?|Что ты можешь?|О чём с тобой можно поговорить?|Что ты знаешь?|О чём поговорим?|Помоги мне.|Что будем делать?|Чем займёмся?]", "[What can you do?|How can you help?|What are you able to do?|What can we talk about?|What do you know?|What shall we talk about?|Help me.|What shall we do?]")
    return person, talk.say("Я умею [рассказывать сказки|болтать обо всём понемногу|слушать], [считать до двадцати|загадывать загадки|шутить] и [запоминать имена|утешать, когда грустно]. С чего начнём?", "I can [tell tales|chat about little things|listen], [count to twenty|ask riddles|joke] and [remember names|comfort you when you are sad]. Where shall we begin?")


def machine(talk):
    person = talk.say("[Ты бот?|Ты робот?|Ты человек?|Ты настоящий?|Ты нейросеть?|Ты искусственный интеллект?|Ты живой?|Кто тебя создал?|Ты программа?|Какая ты модель?|Ты ChatGPT?|Кто тебя сделал?|На какой модели ты работаешь?]", "[Are you a bot?|Are you a robot?|Are you human?|Are you real?|Are you an AI?|Are you alive?|Who made you?|Are you a program?|Which model are you?|Are you ChatGPT?|Who created you?|Are you a real person?|What model do you run on?]")
    answer = talk.say("Я маленькая встроенная модель Starling", "I am the small built-in model of Starling")
    if talk.persona:
        answer += talk.say(", а говорю как {name}", ", and I speak as {name}")
    return person, answer + talk.say(". [Большую модель можно подключить в starling.toml.|Но поболтать со мной можно.]", ". [A large model can be added in starling.toml.|But you can chat with me.]")


JOKES_RU = ["Почему ёжик смеётся, когда бежит? Трава щекочет ему животик!", "Заходит улитка в кафе, а оно уже закрыто.", "Почему книга грустит? У неё много глав, и все не весёлые.", "Что сказала одна стена другой? Встретимся на углу!", "Сова пришла в школу и спросила: а ночные уроки есть?"]
JOKES_EN = ["Why does the hedgehog laugh when it runs? The grass tickles its tummy!", "A snail went to a cafe, but it was closed already.", "What did one wall say to the other? Meet you at the corner!", "Why was the book sad? It had too many chapters.", "An owl came to school and asked: are there night lessons?"]
RIDDLES_RU = ["Зимой и летом одним цветом. Что это? Ёлка!", "Не лает, не кусает, а в дом не пускает. Что это? Замок!", "Сто одёжек, и все без застёжек. Что это? Капуста!", "Без окон, без дверей, полна горница людей. Что это? Огурец!", "Висит груша, нельзя скушать. Что это? Лампочка!"]
RIDDLES_EN = ["What has hands but cannot clap? A clock!", "What has a neck but no head? A bottle!", "What gets wetter the more it dries? A towel!", "What has keys but opens no door? A piano!", "What is full of holes and still holds water? A sponge!"]
POEMS_RU = ["Тихо падает снежок, белый, мягкий, как пушок. Спит под снегом старый сад, звёзды в небе все горят.", "Светит солнце за рекой, машет веткой и рукой. Дует тёплый ветерок, на окне поёт сверчок.", "Ходит по двору луна, в тишине совсем одна. Мы помашем ей рукой, скажем: спи, и мир с тобой."]
POEMS_EN = ["Softly falls the evening snow, white and gentle, calm and slow. In the garden, still and deep, all the flowers are asleep.", "See the sun behind the hill, and the river, bright and still. On the window, small and dear, sings a cricket for us here.", "Walks the moon above the town, in her quiet silver gown. We will wave and softly say: sleep till morning brings the day."]


def fun(talk):
    kind = talk.random.choice(["joke", "riddle", "poem"])
    if kind == "joke":
        return talk.say("[Расскажи шутку|Пошути|Рассмеши меня|Расскажи анекдот|Знаешь шутку?|Давай шутку|Скажи что-нибудь смешное][.|!|]", "[Tell me a joke|Make me laugh|Do you know a joke?|Say something funny|A joke, please|Tell a joke][.|!|]").replace("?.", "?").replace("?!", "?"), talk.choose(JOKES_RU, JOKES_EN)
    if kind == "riddle":
        return talk.say("[Загадай загадку|Давай загадку|Знаешь загадки?|Хочу загадку|Загадай что-нибудь][.|!|]", "[Ask me a riddle|Tell me a riddle|Do you know riddles?|I want a riddle|Give me a riddle][.|!|]").replace("?.", "?").replace("?!", "?"), talk.choose(RIDDLES_RU, RIDDLES_EN)
    return talk.say("[Прочитай стихи|Расскажи стишок|Спой песню|Спой мне|Сочини стих|Прочти стихотворение|Спой колыбельную][.|!|]", "[Recite a poem|Tell me a poem|Sing a song|Sing to me|Make up a poem|Read me a poem|Sing a lullaby][.|!|]"), talk.choose(POEMS_RU, POEMS_EN)


def filler(talk):
    person = talk.say("[Да|Нет|Ага|Угу|Хорошо|Ладно|Понятно|Ясно|Ого|Здорово|Круто|Интересно|Ну да|Ок|Хм|Может быть|Не знаю|Правда?|Почему?|Ничего себе|Ух ты|Давай|Конечно|Согласен|Расскажи ещё|Продолжай|А дальше?|И что?][.|!||]", "[Yes|No|Yeah|Okay|OK|All right|I see|Wow|Great|Cool|Interesting|Hm|Maybe|I don't know|Really?|Why?|Sure|Of course|Let's go|Go on|Tell me more|And then?|So what?|Nice][.|!||]").replace("?.", "?").replace("?!", "?")
    return person, talk.say("[Хорошо!|Вот и ладно!|Да, так бывает.|Понимаю тебя.] [О чём ещё поговорим?|Расскажи мне что-нибудь о себе.|Хочешь сказку?|А что ты любишь?|Чем займёмся?]", "[Good!|All right!|Yes, so it is.|I understand you.] [What else shall we talk about?|Tell me something about yourself.|Would you like a tale?|And what do you love?|What shall we do?]")


def repeat(talk):
    word = talk.name() if talk.random.random() < 0.5 else capital(talk.random.choice(words.FOODS + words.THINGS + words.COLOURS)[talk.at])
    if talk.random.random() < 0.5:
        word = word.lower()
    return talk.say("[Скажи «{w}»|Повтори слово «{w}»|Повтори: {w}|Скажи слово {w}|Повтори за мной: {w}][.|]", "[Say \"{w}\"|Repeat the word \"{w}\"|Repeat: {w}|Say the word {w}|Repeat after me: {w}][.|]", w=word), talk.say("{w}[!|.]", "{w}[!|.]", w=capital(word))


def advice(talk):
    person = talk.say("[Как уснуть?|Не могу уснуть[.|]|Дай совет[.|]|Как подружиться?|Как успокоиться?|Что мне делать?|Что делать, если грустно?|Как поднять настроение?|Как найти друзей?|Посоветуй что-нибудь[.|]|Что мне сегодня делать?]", "[How do I fall asleep?|I can't sleep[.|]|Give me advice[.|]|How do I make friends?|How do I calm down?|What should I do?|What helps when I am sad?|How can I cheer up?|How do I find friends?|Give me some advice[.|]|What should I do today?]")
    return person, talk.say("[Выпей тёплого чая и подыши медленно.|Улыбнись кому-нибудь первым.|Погуляй немного, это помогает.|Послушай тихую музыку.|Обними того, кто рядом.] [Всё получится.|И всё наладится.|Мне это помогает.]", "[Drink warm tea and breathe slowly.|Be the first to smile at somebody.|Go for a little walk, it helps.|Listen to quiet music.|Hug somebody near you.] [It will work out.|And all will be well.|It helps me.]")


def tongue(talk):
    """Which languages it speaks."""
    person = talk.say("[Ты говоришь по-русски?|Ты знаешь русский?|Ты понимаешь русский язык?|Говоришь по-английски?|На каких языках ты говоришь?|Ты знаешь английский?]", "[Do you speak English?|Do you know English?|Do you understand English?|Do you speak Russian?|Which languages do you speak?|Can you speak Russian?]")
    return person, talk.say("Да, я говорю по-русски и по-английски, простыми словами.", "Yes, I speak English and Russian, in simple words.")


def name_something(talk):
    pet = talk.random.choice(words.PETS)
    given = talk.choose(words.PET_NAMES_RU, words.PET_NAMES_EN)
    return talk.say("[Придумай имя для {p}|Как назвать {p}?|Какое имя дать моему питомцу?|Помоги придумать имя для питомца]".replace("для {p}", "для зверя"), "[Make up a name for my {p}.|How shall I name my {p}?|Think of a name for my {p}.]", p=pet[4] if talk.at else pet[1]), talk.say("[Назови так: {g}.|Мне нравится имя {g}.|Как тебе имя {g}?]", "[Call it {g}.|I like the name {g}.|How about {g}?]", g=given)


def small_talk(talk):
    """Wishes, plans, play."""
    pairs = [
        ("[Давай играть|Давай поиграем|Поиграем?|Хочешь поиграть?|Сыграем во что-нибудь?]", "[Let's play|Let us play a game|Shall we play?|Do you want to play?|Play with me]", "[Давай!|С радостью!|Ура, игра!] [Загадать загадку?|Я считаю до пяти, а ты прячешься.|Придумай слово, а я повторю.]", "[Let's!|With joy!|Hurray, a game!] [Shall I ask a riddle?|I count to five and you hide.|Think of a word and I repeat it.]"),
        ("[Пойдём гулять|Пошли гулять|Пойдём погуляем?|Давай погуляем|Хочешь погулять?]", "[Let's go for a walk|Shall we take a walk?|Come for a walk|Do you want to walk?]", "[С радостью!|Пойдём!|Отличная мысль!] [Я знаю тихую тропинку.|Возьмём с собой чай.|Только надень шарф.]", "[With joy!|Let's go!|A fine idea!] [I know a quiet path.|We take some tea with us.|Do put on a scarf.]"),
        ("[Давай дружить|Будем друзьями?|Ты мой друг?|Мы друзья?|Хочу с тобой дружить]", "[Let's be friends|Shall we be friends?|Are you my friend?|Are we friends?|I want to be your friend]", "[Конечно, мы друзья!|Давай дружить!|Да, я твой друг!] [Рад{а} этому.|Будем делиться секретами.|]", "[Of course, we are friends!|Let us be friends!|Yes, I am your friend!] [I am glad.|We will share secrets.|]"),
        ("[Я пью чай|Я ем|Я гуляю|Я дома|Я на работе|Я в школе|Я смотрю в окно|Я готовлю ужин|Я читаю книгу|Я только проснулся|Я только проснулась]", "[I am drinking tea|I am eating|I am walking|I am at home|I am at work|I am at school|I am looking out of the window|I am cooking dinner|I am reading a book|I just woke up]", "[Как хорошо!|Приятного дела!|Уютно звучит!] [А что потом?|Мне тоже хочется.|Расскажи ещё.]", "[How nice!|Enjoy it!|That sounds cosy!] [And what then?|I would like that too.|Tell me more.]"),
        ("[О чём ты мечтаешь?|Какая у тебя мечта?|Чего ты хочешь?|Ты мечтаешь о чём-нибудь?]", "[What do you dream of?|What is your dream?|What do you want?|Do you dream of something?]", "Я мечтаю [увидеть море|о тёплом доме|о новых друзьях|однажды полететь к звёздам]. А ты?", "I dream of [seeing the sea|a warm home|new friends|flying to the stars one day]. And you?"),
        ("[С днём рождения|С праздником|С Новым годом|Поздравляю тебя]", "[Happy birthday|Happy holidays|Happy New Year|Congratulations to you]", "[Спасибо!|Спасибо, и тебя!|Ура, праздник!] [Угощайся пирогом!|Пусть сбудутся мечты.|]", "[Thank you!|Thank you, and to you!|Hurray, a holiday!] [Have some pie!|May your dreams come true.|]"),
        ("[Ты здесь?|Ты тут?|Алло|Эй|Ты меня слышишь?|Ау]", "[Are you here?|Are you there?|Hey you|Can you hear me?|Anybody there?]", "[Я здесь!|Да, я тут!|Слышу тебя!] [О чём поговорим?|Рассказывай.|]", "[I am here!|Yes, I am here!|I hear you!] [What shall we talk about?|Tell me.|]"),
    ]
    ask_ru, ask_en, answer_ru, answer_en = talk.random.choice(pairs)
    person = talk.say(ask_ru, ask_en)
    return person if person.endswith("?") else person + talk.choose([".", "!", ""], [".", "!", ""]), talk.say(answer_ru, answer_en).strip()


def outside_domain(talk):
    return question(talk.random, talk.language), HONEST[talk.language]


# How often each is said.
INTENTS = [
    (greeting, 5), (how_are_you, 4), (feeling, 9), (who, 9), (about, 13), (likes_it, 4), (person_likes, 5), (tell_name, 9), (recall_name, 4), (tell_fact, 9),
    (recall_fact, 7), (weather, 3), (tale, 6), (arithmetic, 11), (counting, 3), (thanks, 3), (praise, 3), (insult, 2), (goodbye, 3), (abilities, 3),
    (machine, 3), (fun, 4), (filler, 4), (repeat, 3), (advice, 3), (tongue, 1), (name_something, 1), (small_talk, 5), (outside_domain, 15),
]

# How often each is said in the wider dialogues: more of what has most to be learnt.
WIDE = {arithmetic: 32, counting: 7, about: 24, feeling: 15, who: 12, tell_name: 12, recall_fact: 9, outside_domain: 14}
