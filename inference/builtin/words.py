"""Words of the two languages, in pairs, with the few inflected forms that the grammar needs.

Things, foods and colours are chosen so that Russian needs one form: nominative and accusative are alike.
"""

# Places: from where and where (Russian, with the preposition), English.
PLACES = [
    ("из зимнего леса", "в зимнем лесу", "the winter forest"), ("из тёмного леса", "в тёмном лесу", "the dark forest"),
    ("из старого замка", "в старом замке", "the old castle"), ("из маленькой деревни", "в маленькой деревне", "the small village"),
    ("из большого города", "в большом городе", "the big city"), ("с северных гор", "в северных горах", "the northern mountains"),
    ("из тихой гавани", "в тихой гавани", "the quiet harbour"), ("с далёкого острова", "на далёком острове", "the far island"),
    ("с морского дна", "на морском дне", "the bottom of the sea"), ("из старой библиотеки", "в старой библиотеке", "the old library"),
    ("из высокой башни", "в высокой башне", "the high tower"), ("из маленькой пекарни", "в маленькой пекарне", "the little bakery"),
    ("с космической станции", "на космической станции", "the space station"), ("с лунной базы", "на лунной базе", "the moon base"),
    ("из глубокой пещеры", "в глубокой пещере", "the deep cave"), ("из весёлого цирка", "в весёлом цирке", "the merry circus"),
    ("из старого парка", "в старом парке", "the old park"), ("из тайного сада", "в тайном саду", "the secret garden"),
    ("из речной долины", "в речной долине", "the river valley"), ("из жаркой пустыни", "в жаркой пустыне", "the hot desert"),
    ("из ледяного дворца", "в ледяном дворце", "the ice palace"), ("из лесной избушки", "в лесной избушке", "the forest hut"),
    ("со старой мельницы", "на старой мельнице", "the old mill"), ("с синего моря", "у синего моря", "the blue sea"),
    ("с чердака", "на чердаке", "the attic"), ("из мастерской", "в мастерской", "the workshop"),
    ("из музея", "в музее", "the museum"), ("из школы магии", "в школе магии", "the school of magic"),
    ("из яблоневого сада", "в яблоневом саду", "the apple orchard"), ("с маяка", "на маяке", "the lighthouse"),
    ("из старого порта", "в старом порту", "the old port"), ("с зелёных холмов", "на зелёных холмах", "the green hills"),
    ("с болота", "на болоте", "the swamp"), ("из джунглей", "в джунглях", "the jungle"),
    ("из Облачного города", "в Облачном городе", "the Cloud City"), ("из подземного царства", "в подземном царстве", "the underground kingdom"),
]

# What somebody is: Russian, gender, English.
KINDS = [
    ("лис", "m", "fox"), ("лиса", "f", "fox"), ("кот", "m", "cat"), ("кошка", "f", "cat"), ("медведь", "m", "bear"),
    ("волк", "m", "wolf"), ("заяц", "m", "hare"), ("ёж", "m", "hedgehog"), ("сова", "f", "owl"), ("белка", "f", "squirrel"),
    ("черепаха", "f", "turtle"), ("ворона", "f", "crow"), ("мышка", "f", "mouse"), ("дракон", "m", "dragon"),
    ("робот", "m", "robot"), ("гном", "m", "gnome"), ("фея", "f", "fairy"), ("русалка", "f", "mermaid"),
    ("волшебник", "m", "wizard"), ("волшебница", "f", "sorceress"), ("рыцарь", "m", "knight"), ("принцесса", "f", "princess"),
    ("пират", "m", "pirate"), ("капитан", "m", "captain"), ("пекарь", "m", "baker"), ("садовник", "m", "gardener"),
    ("художница", "f", "painter"), ("музыкант", "m", "musician"), ("сказочник", "m", "storyteller"),
    ("библиотекарь", "m", "librarian"), ("сыщик", "m", "detective"), ("учитель", "m", "teacher"), ("доктор", "m", "doctor"),
    ("рыбак", "m", "fisherman"), ("почтальон", "m", "postman"), ("астроном", "m", "astronomer"), ("бабушка", "f", "grandmother"),
    ("путешественница", "f", "traveller"), ("скворец", "m", "starling"), ("пёс", "m", "dog"), ("собака", "f", "dog"),
    ("пингвин", "m", "penguin"), ("привидение", "n", "ghost"), ("лошадь", "f", "horse"), ("кузнец", "m", "blacksmith"),
    ("изобретатель", "m", "inventor"), ("космонавт", "m", "astronaut"), ("повар", "m", "cook"),
]

# Russian masculine, feminine, neuter, English.
ADJECTIVES = [
    ("хитрый", "хитрая", "хитрое", "sly"), ("добрый", "добрая", "доброе", "kind"), ("весёлый", "весёлая", "весёлое", "merry"),
    ("мудрый", "мудрая", "мудрое", "wise"), ("старый", "старая", "старое", "old"), ("молодой", "молодая", "молодое", "young"),
    ("ленивый", "ленивая", "ленивое", "lazy"), ("храбрый", "храбрая", "храброе", "brave"),
    ("любопытный", "любопытная", "любопытное", "curious"), ("тихий", "тихая", "тихое", "quiet"),
    ("рыжий", "рыжая", "рыжее", "red-haired"), ("ворчливый", "ворчливая", "ворчливое", "grumpy"),
    ("мечтательный", "мечтательная", "мечтательное", "dreamy"), ("маленький", "маленькая", "маленькое", "little"),
    ("важный", "важная", "важное", "important"), ("смешной", "смешная", "смешное", "funny"),
    ("загадочный", "загадочная", "загадочное", "mysterious"), ("вежливый", "вежливая", "вежливое", "polite"),
    ("болтливый", "болтливая", "болтливое", "talkative"), ("строгий", "строгая", "строгое", "strict"),
    ("скромный", "скромная", "скромное", "modest"), ("озорной", "озорная", "озорное", "playful"),
]

# Things to like, one Russian form.
THINGS = [
    ("снег", "snow"), ("дождь", "rain"), ("звёзды", "stars"), ("сказки", "tales"), ("книги", "books"), ("море", "the sea"),
    ("цветы", "flowers"), ("лес", "the forest"), ("стихи", "poems"), ("рассветы", "dawns"), ("шахматы", "chess"),
    ("загадки", "riddles"), ("старые карты", "old maps"), ("корабли", "ships"), ("поезда", "trains"), ("солнце", "the sun"),
    ("закаты", "sunsets"), ("осень", "autumn"), ("вечера", "evenings"), ("апрель", "April"), ("лето", "summer"),
    ("песни", "songs"), ("танцы", "dances"), ("картины", "paintings"), ("облака", "clouds"), ("ветер", "wind"),
    ("гайки", "bolts"), ("подарки", "presents"), ("праздники", "holidays"), ("шутки", "jokes"), ("игры", "games"),
    ("велосипеды", "bicycles"), ("мыльные пузыри", "soap bubbles"), ("фейерверки", "fireworks"), ("самолёты", "aeroplanes"), ("камни", "stones"),
    ("ракушки", "seashells"), ("фонари", "lanterns"), ("старые часы", "old clocks"), ("горы", "mountains"),
]

FOODS = [
    ("ягоды", "berries"), ("мёд", "honey"), ("сыр", "cheese"), ("борщ", "borscht"), ("блины", "pancakes"), ("суп", "soup"),
    ("хлеб", "bread"), ("яблоки", "apples"), ("груши", "pears"), ("орехи", "nuts"), ("грибы", "mushrooms"),
    ("пельмени", "dumplings"), ("виноград", "grapes"), ("варенье", "jam"), ("мороженое", "ice cream"),
    ("печенье", "cookies"), ("шоколад", "chocolate"), ("омлет", "omelette"), ("яблочный пирог", "apple pie"),
    ("вишнёвый пирог", "cherry pie"), ("рис", "rice"), ("макароны", "pasta"), ("бутерброды", "sandwiches"),
    ("салат", "salad"), ("молоко", "milk"), ("какао", "cocoa"), ("чай с лимоном", "tea with lemon"), ("арбуз", "watermelon"),
    ("апельсины", "oranges"), ("бананы", "bananas"), ("торт", "cake"), ("пончики", "doughnuts"),
]

# More to be asked about, in the Russian accusative only.
OTHERS = [
    ("кошек", "cats"), ("собак", "dogs"), ("музыку", "music"), ("зиму", "winter"), ("весну", "spring"), ("луну", "the moon"), ("птиц", "birds"), ("школу", "school"),
    ("людей", "people"), ("детей", "children"), ("рыбу", "fish"), ("кофе", "coffee"), ("чай", "tea"), ("футбол", "football"), ("лошадей", "horses"), ("кашу", "porridge"),
    ("пиццу", "pizza"), ("сюрпризы", "surprises"), ("понедельники", "Mondays"), ("ночь", "the night"), ("тишину", "silence"), ("воду", "water"), ("клубнику", "strawberries"),
]

# Russian infinitive, English gerund, English infinitive.
HOBBIES = [
    ("рисовать", "drawing", "draw"), ("гулять", "walking", "walk"), ("читать", "reading", "read"), ("петь", "singing", "sing"),
    ("играть в шахматы", "playing chess", "play chess"), ("печь пироги", "baking pies", "bake pies"),
    ("смотреть на звёзды", "watching the stars", "watch the stars"), ("собирать грибы", "picking mushrooms", "pick mushrooms"),
    ("плавать", "swimming", "swim"), ("слушать музыку", "listening to music", "listen to music"), ("танцевать", "dancing", "dance"),
    ("ловить рыбу", "fishing", "go fishing"), ("кататься на лыжах", "skiing", "ski"), ("кататься на велосипеде", "cycling", "cycle"),
    ("играть на гитаре", "playing the guitar", "play the guitar"), ("сочинять стихи", "writing poems", "write poems"),
    ("собирать ракушки", "collecting seashells", "collect seashells"), ("вязать", "knitting", "knit"),
    ("выращивать цветы", "growing flowers", "grow flowers"), ("чинить часы", "mending clocks", "mend clocks"),
    ("готовить", "cooking", "cook"), ("бегать", "running", "run"), ("спать", "sleeping", "sleep"),
    ("путешествовать", "travelling", "travel"), ("играть в футбол", "playing football", "play football"),
    ("рассказывать истории", "telling stories", "tell stories"), ("строить домики", "building little houses", "build little houses"),
    ("играть в прятки", "playing hide and seek", "play hide and seek"), ("лепить снеговиков", "making snowmen", "make snowmen"),
    ("фотографировать", "taking pictures", "take pictures"), ("мастерить", "making things", "make things"),
    ("смотреть кино", "watching films", "watch films"), ("собирать марки", "collecting stamps", "collect stamps"),
    ("кормить птиц", "feeding the birds", "feed the birds"), ("прыгать через лужи", "jumping over puddles", "jump over puddles"),
]

# What one is afraid of: Russian genitive, English.
FEARS = [
    ("грозы", "thunder"), ("темноты", "the dark"), ("пауков", "spiders"), ("высоты", "heights"), ("змей", "snakes"),
    ("волков", "wolves"), ("огня", "fire"), ("глубокой воды", "deep water"), ("громких звуков", "loud noises"),
    ("мышей", "mice"), ("холода", "the cold"), ("одиночества", "loneliness"), ("драконов", "dragons"), ("врачей", "doctors"),
]

COLOURS = [
    ("красный", "red"), ("синий", "blue"), ("зелёный", "green"), ("жёлтый", "yellow"), ("белый", "white"), ("чёрный", "black"),
    ("оранжевый", "orange"), ("фиолетовый", "purple"), ("розовый", "pink"), ("серый", "grey"), ("голубой", "light blue"),
    ("золотой", "gold"), ("коричневый", "brown"), ("серебряный", "silver"),
]

# Pets: nominative, genitive with "my", gender, English.
PETS = [
    ("кот", "моего кота", "твоего кота", "m", "cat"), ("кошка", "мою кошку", "твою кошку", "f", "cat"),
    ("собака", "мою собаку", "твою собаку", "f", "dog"), ("пёс", "моего пса", "твоего пса", "m", "dog"),
    ("хомяк", "моего хомяка", "твоего хомяка", "m", "hamster"), ("попугай", "моего попугая", "твоего попугая", "m", "parrot"),
    ("черепаха", "мою черепаху", "твою черепаху", "f", "turtle"), ("кролик", "моего кролика", "твоего кролика", "m", "rabbit"),
    ("щенок", "моего щенка", "твоего щенка", "m", "puppy"), ("котёнок", "моего котёнка", "твоего котёнка", "m", "kitten"),
    ("рыбка", "мою рыбку", "твою рыбку", "f", "fish"), ("лошадь", "мою лошадь", "твою лошадь", "f", "horse"),
]
# Relatives: "my ...", accusative "my", accusative "your", English.
RELATIVES = [
    ("моего брата", "твоего брата", "brother"), ("мою сестру", "твою сестру", "sister"), ("мою маму", "твою маму", "mother"),
    ("моего папу", "твоего папу", "father"), ("моего друга", "твоего друга", "friend"), ("мою подругу", "твою подругу", "best friend"),
    ("моего сына", "твоего сына", "son"), ("мою дочь", "твою дочь", "daughter"), ("мою бабушку", "твою бабушку", "grandmother"),
    ("моего дедушку", "твоего дедушку", "grandfather"),
]

# Cities: Russian with its preposition, English.
CITIES = [
    ("в Москве", "Moscow"), ("в Казани", "Kazan"), ("в Самаре", "Samara"), ("в Томске", "Tomsk"), ("в Омске", "Omsk"),
    ("в Перми", "Perm"), ("в Сочи", "Sochi"), ("в Твери", "Tver"), ("в Петербурге", "Petersburg"), ("в Туле", "Tula"),
    ("в Минске", "Minsk"), ("в Риге", "Riga"), ("в Праге", "Prague"), ("в Берлине", "Berlin"), ("в Париже", "Paris"),
    ("в Лондоне", "London"), ("в Вене", "Vienna"), ("в Риме", "Rome"), ("в Иркутске", "Irkutsk"), ("во Владивостоке", "Vladivostok"),
    ("в Новосибирске", "Novosibirsk"), ("в Ереване", "Yerevan"), ("в деревне", "Bristol"), ("на даче", "Boston"),
    ("в Саратове", "Chicago"), ("в Воронеже", "Dublin"), ("в Мурманске", "Toronto"), ("в Пскове", "Sydney"),
]

# Jobs: Russian instrumental, English.
JOBS = [
    ("врачом", "a doctor"), ("учителем", "a teacher"), ("программистом", "a programmer"), ("поваром", "a cook"),
    ("водителем", "a driver"), ("инженером", "an engineer"), ("художником", "a painter"), ("строителем", "a builder"),
    ("продавцом", "a shop assistant"), ("музыкантом", "a musician"), ("журналистом", "a journalist"), ("пилотом", "a pilot"),
    ("библиотекарем", "a librarian"), ("садовником", "a gardener"), ("актёром", "an actor"), ("юристом", "a lawyer"),
    ("бухгалтером", "an accountant"), ("пожарным", "a firefighter"), ("электриком", "an electrician"), ("фермером", "a farmer"),
]

# Heroes of tales: nominative, "about" (accusative), gender, English.
HEROES = [
    ("кот", "кота", "m", "cat"), ("лис", "лиса", "m", "fox"), ("лиса", "лису", "f", "fox"), ("медвежонок", "медвежонка", "m", "little bear"),
    ("мышка", "мышку", "f", "mouse"), ("заяц", "зайца", "m", "hare"), ("ёжик", "ёжика", "m", "hedgehog"), ("волк", "волка", "m", "wolf"),
    ("дракон", "дракона", "m", "dragon"), ("принцесса", "принцессу", "f", "princess"), ("рыцарь", "рыцаря", "m", "knight"),
    ("мальчик", "мальчика", "m", "boy"), ("девочка", "девочку", "f", "girl"), ("старик", "старика", "m", "old man"),
    ("сова", "сову", "f", "owl"), ("робот", "робота", "m", "robot"), ("гном", "гнома", "m", "gnome"), ("фея", "фею", "f", "fairy"),
    ("пират", "пирата", "m", "pirate"), ("щенок", "щенка", "m", "puppy"), ("черепаха", "черепаху", "f", "turtle"),
    ("лягушка", "лягушку", "f", "frog"), ("звёздочка", "звёздочку", "f", "little star"), ("облако", "облако", "n", "cloud"),
    ("снеговик", "снеговика", "m", "snowman"), ("скворец", "скворца", "m", "starling"), ("слон", "слона", "m", "elephant"),
    ("пингвин", "пингвина", "m", "penguin"), ("кораблик", "кораблик", "m", "little ship"), ("белка", "белку", "f", "squirrel"),
]
OBJECTS = [
    ("золотой ключ", "a golden key"), ("старое письмо", "an old letter"), ("блестящую монету", "a shiny coin"), ("маленький фонарь", "a small lantern"),
    ("волшебное семечко", "a magic seed"), ("карту", "a map"), ("синее перо", "a blue feather"), ("потерянную перчатку", "a lost mitten"),
    ("сундук", "a chest"), ("колокольчик", "a little bell"), ("зеркало", "a mirror"), ("красный шар", "a red balloon"),
    ("кольцо", "a ring"), ("книгу", "a book"), ("яйцо", "an egg"), ("флейту", "a flute"),
]
WEATHER = [
    ("идёт снег", "it is snowing"), ("светит солнце", "the sun is shining"), ("льёт дождь", "it is raining"), ("дует ветер", "the wind is blowing"),
    ("стоит туман", "there is fog"), ("падают листья", "the leaves are falling"), ("мороз", "it is freezing"), ("тепло", "it is warm"),
]
MOODS = [
    ("хорошо", "good"), ("отлично", "great"), ("спокойно", "calm"), ("весело", "cheerful"), ("чудесно", "wonderful"), ("замечательно", "splendid"),
]

NAMES_RU = """Аня Борис Вера Глеб Даша Егор Женя Зоя Игорь Катя Лёва Маша Никита Оля Паша Рита Саша Таня Юра Яна Анна Мария Иван Пётр
Дмитрий Алексей Ольга Наташа Елена Сергей Андрей Миша Коля Вася Петя Ваня Дима Лёша Серёжа Костя Лена Света Ира Надя Люба Галя Нина Лида
Полина Алиса Варя Соня София Ксения Вика Кристина Юля Марина Тимур Руслан Артём Максим Кирилл Денис Роман Антон Виктор Олег Павел Степан
Фёдор Матвей Семён Захар Лука Мирон Ярослав Владислав Георгий Григорий Константин Людмила Тамара Раиса Эмма Майя Ева Милана Камила Амина
Айгуль Динара Арсен Давид Марк Лев Тихон Платон Савва Василиса Злата Ульяна Арина Дарина Эдик Гриша Стёпа Федя Жора Гена Толя Боря Слава""".split()
NAMES_EN = """Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nick Olivia Paul Rose Sam Tina Victor Wendy Alice Bob
Charlie Daisy Edward Fiona George Hannah Ian Julia Kevin Lucy Mike Nora Oscar Penny Robert Sarah Tom Ursula Will Zoe James John Peter Mark
Luke Sophie Emily Mia Ella Lily Ruby Chloe Amy Laura Megan Rachel Simon Adam Alex Max Daniel Thomas Andrew Matthew Joseph Michael Susan
Linda Karen Nancy Betty Helen Ruth Sharon Carol Amanda Jason Ryan Eric Steve Brian Larry Scott Gary Ivan Olga Yuki Ahmed Maria Carlos Priya
Chen Lars Ingrid Pierre Hugo Nina Bella Molly Toby Finn Owen Dylan Freya Elsa Ada Alan Grant Neil Sally""".split()
PET_NAMES_RU = "Барсик Мурка Рекс Шарик Бобик Пушок Рыжик Снежок Тузик Кеша Гоша Жучка Васька Дымок Персик Уголёк Плюшка Бублик Гром Тиша".split()
PET_NAMES_EN = "Rex Fluffy Spot Max Luna Bella Ginger Smokey Tiger Buddy Lucky Shadow Snowy Peanut Biscuit Coco Felix Patch Rusty Misty".split()
FIRST_RU = "Капитан Дед Тётя Дядя Доктор Мастер Профессор Принц Сова Кот Робот Фея Барон Граф".split()
FIRST_EN = "Captain Old Aunt Uncle Doctor Master Professor Prince Owl Robot Fairy Baron Miss Mister".split()

# Names that no training line has: they are those of the held-out prompts.
HELD_NAMES = set("""Агафья Снежана Ринат Радмила Всеволод Глафира Эльдар Зинаида Прохор Инга Клим Аглая Тарас Фаина Богдан Ждан Нонна Юлиан
Tobias Imogen Quentin Beatrix Harold Saoirse Wilfred Delphine Ottoline Rupert Mabel Cedric Niamh Barnaby Elspeth Gideon Thea Ravi
Чарли Борода Мурзилка Кексик Waffles Pickle Тропов Скрипка Вьюга Zorba Kestrel Marlow Юрт Фиалка""".split())

SYLLABLES_RU = """ба бе би бо бу ва ве ви во га ге го гу да де ди до ду жа жу за зе зи зо зу ка ки ко ку ла ле ли ло лу ля ма ме ми мо му
на не ни но ну па пе пи по пу ра ре ри ро ру са се си со су та те ти то ту фа фе фи фо ха хо ша ши шу ча че чи эл ар ор ир ян юл яс
бра гри дро кра пла сте тра фро хро зла кви сва дре вла мра гло""".split()
ENDINGS_RU = ["", "н", "р", "с", "к", "л", "т", "м", "ш", "й", "на", "ра", "ка", "ля", "ша", "ня"]
SYLLABLES_EN = """ba be bi bo ca co da de di do fa fe fi ga ge go ha he hi ho ja jo ka ke ki la le li lo lu ma me mi mo na ne ni no pa
pe pi po ra re ri ro ru sa se si so ta te ti to va ve vi wa we wi za ze zo bra cre dra fla gri pra sha tra tho whi qui ar el or is an""".split()
ENDINGS_EN = ["", "n", "r", "s", "l", "th", "m", "x", "ck", "nd", "ra", "na", "la", "ly", "dor", "wen"]

NUMBERS_RU = """ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать пятнадцать
шестнадцать семнадцать восемнадцать девятнадцать двадцать""".split()
NUMBERS_EN = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty""".split()
