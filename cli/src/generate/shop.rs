//! A made-up shop: its products, its lists, and people who visit it again and again.
//!
//! Popular products get more views and purchases, and some lists lead to more views than others, so
//! that the answers to the analysts' questions differ. The texts contain what real ones do: commas,
//! equals signs, brackets, quotes, line breaks, accents, emoji.

use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The events are of this many days before now.
const DAYS: i64 = 14;
/// A visit is shorter than this; the last one begins this long before now.
const LONGEST_VISIT: TimeDelta = TimeDelta::hours(1);
/// The shortest time between visits: GA4 begins a new session after half an hour without an event.
const BETWEEN_VISITS: TimeDelta = TimeDelta::minutes(31);
const MOST_VISITS: usize = 8;
/// Renamed products have had their new name for this long.
const RENAMED: TimeDelta = TimeDelta::days(2);
/// The age of the app's last release.
const RELEASED: TimeDelta = TimeDelta::days(4);
/// A person gets a release within this many hours; one of `NEVER_UPDATES` never does.
const UPDATE_HOURS: u32 = 60;
const NEVER_UPDATES: u32 = 12;

#[derive(Debug)]
pub struct Product {
    pub id: &'static str,
    name: &'static str,
    former_name: Option<&'static str>,
    pub brand: Option<&'static str>,
    /// From the top down.
    pub categories: &'static [&'static str],
    pub variant: Option<&'static str>,
    pub price: f64,
    /// The discount on the price, and its codes.
    pub discount: Option<(f64, &'static str)>,
    /// The probability that a viewer begins a checkout.
    appeal: f64,
}

const fn product(id: &'static str, name: &'static str, price: f64, appeal: f64) -> Product {
    Product {
        id,
        name,
        former_name: None,
        brand: None,
        categories: &[],
        variant: None,
        price,
        discount: None,
        appeal,
    }
}

impl Product {
    const fn brand(mut self, brand: &'static str) -> Self {
        self.brand = Some(brand);
        self
    }

    const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn variant(mut self, variant: &'static str) -> Self {
        self.variant = Some(variant);
        self
    }

    const fn formerly(mut self, name: &'static str) -> Self {
        self.former_name = Some(name);
        self
    }

    const fn discount(mut self, amount: f64, codes: &'static str) -> Self {
        self.discount = Some((amount, codes));
        self
    }
}

/// Most popular first.
#[rustfmt::skip]
static PRODUCTS: [Product; 36] = [
    product("prod_01JD5A7K0M", "Audífonos Lira 520 con Micrófono", 899.0, 0.35)
        .discount(150.5, "PROMO25|ENVIOGRATIS"),
    product("prod_01JD5A7K1N", "Tenis Rumbo 2.0, Hombre, Blanco", 1299.0, 0.25)
        .brand("Rumbo").categories(&["Calzado", "Hombre"]),
    product("prod_01JD5A7K2P", "Juego de Sábanas Matrimonial, 4 Piezas, Gris", 749.0, 0.5)
        .formerly("Juego de Sábanas Matrimonial"),
    product("prod_01JD5A7K3Q", "Brisa Eau De Toilette 100 ml Para Hombre", 1299.0, 0.4)
        .discount(100.0, "SHOP_XP_01"),
    product("prod_01JD5A7K4R", "Celular Nova 04 4+4 RAM +128 GB", 2999.0, 0.15).brand("Nova"),
    product("prod_01JD5A7K5S", "Wireless earbuds \"Pebble\" 🎧", 649.9, 0.45),
    product("prod_01JD5A7K6T", "Sartén, diámetro=24 cm, antiadherente", 389.0, 0.55)
        .categories(&["Hogar", "Cocina", "Sartenes"]),
    product("prod_01JD5A7K7V", "[Reacondicionado] Celular Nova 13 [128 GB]", 4299.0, 0.2)
        .discount(700.0, "OUTLET"),
    product("prod_01JD5A7K8W", "Garrafa térmica inox 1L (não vaza)", 219.9, 0.6)
        .brand("Serra & Mar"),
    product("prod_01JD5A7K9X", "Reloj Inteligente Faro", 1799.0, 0.3).formerly("Smartwatch Faro"),
    product("prod_01JD5A7KAY", "Poêle en fonte d'acier, 28 cm", 459.5, 0.4).brand("Château-Bleu"),
    product("prod_01JD5A7KBZ", "Set {rojo, azul, verde} de tazas", 329.0, 0.5).variant("surtido"),
    product("prod_01JD5A7KC0", "Bocina Ola 4 – Sonido potente en tamaño compacto", 999.0, 0.25),
    product("prod_01JD5A7KD1", "Tapete de yoga 6mm; antideslizante; 100% TPE", 279.0, 0.45),
    product("prod_01JD5A7KE2", "Men's running shirt, size=M, \"dry fit\"", 349.0, 0.35)
        .variant("M"),
    product("0012345", "1984", 189.0, 0.6).brand("Éditions du Port").categories(&["Livres"]),
    product("prod_01JD5A7KF3", "Vestido midi floral,\nmanga larga", 599.0, 0.2).variant("CH"),
    product("prod_01JD5A7KG4", "Laptop 15.6\" 16 GB RAM, 512 GB SSD", 14_999.0, 0.1)
        .brand("Órbita").discount(2_000.0, "BUENFIN|MSI12"),
    product("prod_01JD5A7KH5", "Chaise de bureau ergonomique « Midi »", 2399.0, 0.15),
    product("prod_01JD5A7KJ6", "Foco LED 9W] luz cálida", 49.0, 0.65),
    product("prod_01JD5A7KK7", "Fralda Bebê Conforto XG, 58 unidades", 139.9, 0.7).brand("Ninho"),
    product("prod_01JD5A7KM8", "Mochila escolar unicornio 🦄 edición niña", 459.0, 0.4),
    product("prod_01JD5A7KN9", "Cadena trenzada (acero) {60 cm}", 259.0, 0.35),
    product("prod_01JD5A7KP0", "Manual: item_params=[básico]", 99.0, 0.3),
    product("prod_01JD5A7KQ1", "Kit de herramientas 108 piezas con maletín reforzado, juego de dados \
        milimétricos y en pulgadas, llaves y destornilladores", 1149.0, 0.3)
        .brand("Tenaz"),
    product("prod_01JD5A7KR2", "Café en grano 1 kg = 2 × 500 g", 329.0, 0.65).brand("Altura"),
    product("prod_01JD5A7KS3", "Cámara de seguridad Wi‑Fi 360°, visión nocturna", 699.0, 0.25),
    product("prod_01JD5A7KT4", "007: Goldfinger, 4K <edition>", 249.0, 0.2)
        .categories(&["Movies", "Action"]),
    product("prod_01JD5A7KV5", "Colchón King Size", 7_899.0, 0.1).discount(1_200.0, "BUENFIN"),
    product("prod_01JD5A7KW6", "L'huile d'olive [extra vierge], 75cl", 179.0, 0.5),
    product("prod_01JD5A7KX7", "Amostra grátis: creme facial 2 ml", 0.01, 0.6),
    product("prod_01JD5A7KY8", "Lego\u{ad}style blocks, 1,000 pcs", 549.0, 0.3),
    product("prod_01JD5A7KZ9", "Ventilador de torre, 3 velocidades, control remoto", 1099.0, 0.25),
    // Without appeal it is shown and never opened: one sale would be nearly all revenue.
    product("prod_01JD5A7L0A", "Auto compacto 2026, transmisión automática", 12_345_678.0, 0.0),
    product("prod_01JD5A7L1B", "Câmera instantânea cor-de-rosa, null flash", 899.9, 0.2),
    product("prod_01JD5A7L2C", "Trattoria pasta set 'Nonna', 5 pz.", 189.0, 0.45),
];

/// A list in the app.
#[derive(Clone, Copy, Debug)]
pub struct List {
    pub id: &'static str,
    pub name: &'static str,
    /// True if the app sends the position of each product.
    pub is_numbered: bool,
    pub promotion: Option<&'static str>,
    /// The probability that a viewer opens one of its products.
    appeal: f64,
}

const fn list(id: &'static str, name: &'static str, appeal: f64) -> List {
    List {
        id,
        name,
        is_numbered: true,
        promotion: None,
        appeal,
    }
}

impl List {
    const fn promotion(mut self, name: &'static str) -> Self {
        self.promotion = Some(name);
        self
    }

    /// A list with a code instead of a name, and without positions.
    const fn code(code: &'static str, appeal: f64) -> Self {
        let mut list = list(code, code, appeal);
        list.is_numbered = false;
        list
    }

    /// A search. Its name is the text that the user typed; all searches share an id.
    const fn search(text: &'static str) -> Self {
        let mut list = list("list_s", text, 0.4);
        list.is_numbered = false;
        list
    }
}

/// The lists and searches of people of one language.
struct Language {
    /// The share of people in percent.
    share: u32,
    /// Equally likely.
    countries: &'static [&'static str],
    lists: &'static [List],
    searches: &'static [&'static str],
}

#[rustfmt::skip]
static LANGUAGES: [Language; 4] = [
    Language {
        share: 60,
        countries: &["Mexico", "Mexico", "Mexico", "Colombia"],
        lists: &[
            list("list_0", "Los más comprados", 0.35),
            list("list_1", "Hogar, cocina y jardín", 0.3),
            list("list_2", "Calzado", 0.2),
            list("list_3", "El Buen Fin", 0.7).promotion("El Buen Fin, hasta 40% menos"),
            list("list_9", "Para ti", 0.45),
            List::code("offer_card", 0.25),
        ],
        searches: &[
            "audífonos", "tenis blancos", "Cadena trenzada", "celular, barato", "talla=M",
            "sábanas 🛏️", "sartén", "laptop 15.6\"",
        ],
    },
    Language {
        share: 18,
        countries: &["United States"],
        lists: &[
            list("list_4", "Bestsellers", 0.35),
            list("list_5", "Related products", 0.42),
            list("list_9", "For you", 0.45),
            List::code("offer_card", 0.25),
        ],
        searches: &[
            "headphones", "Men's shirts", "gift under $20", "wireless earbuds", "[4K] movies",
        ],
    },
    Language {
        share: 14,
        countries: &["Brazil"],
        lists: &[
            list("list_6", "Mais vendidos", 0.3),
            list("list_7", "Liquidação de verão ☀️", 0.4).promotion("Liquidação"),
            list("list_9", "Para você", 0.45),
        ],
        searches: &["fralda", "garrafa térmica", "câmera", "promoção {hoje}"],
    },
    Language {
        share: 8,
        countries: &["France", "France", "Canada"],
        lists: &[
            list("list_8", "Les meilleures ventes", 0.3),
            list("list_9", "Pour vous", 0.45),
        ],
        searches: &["poêle", "huile d'olive, bio", "« chaise »"],
    },
];

/// The source of a visit.
#[derive(Debug)]
pub struct Traffic {
    /// The share of visits in percent.
    share: u32,
    pub source: &'static str,
    pub medium: &'static str,
    pub campaign: Option<&'static str>,
}

const fn traffic(
    share: u32,
    source: &'static str,
    medium: &'static str,
    campaign: Option<&'static str>,
) -> Traffic {
    Traffic {
        share,
        source,
        medium,
        campaign,
    }
}

#[rustfmt::skip]
static TRAFFIC: [Traffic; 8] = [
    traffic(38, "(direct)", "(none)", None),
    traffic(24, "google", "organic", None),
    traffic(14, "google", "cpc", Some("marca_búsqueda")),
    traffic(8, "instagram", "paid_social", Some("El Buen Fin, hasta 40% menos")),
    traffic(7, "newsletter", "email", Some("ofertas_semana")),
    traffic(5, "push", "push", Some("carrito_abandonado")),
    traffic(3, "tiktok", "paid_social", Some("primera_compra")),
    traffic(1, "bing", "organic", None),
];

/// A user of the app.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub number: u32,
    pub platform: &'static str,
    pub device_category: &'static str,
    pub country: &'static str,
}

/// An event. A message is computed from these values.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub name: &'static str,
    pub person: Person,
    /// False if nobody is signed in during the visit.
    pub is_signed_in: bool,
    pub visit_began: DateTime<Utc>,
    pub traffic: &'static Traffic,
    pub app_version: &'static str,
    /// The list that was shown, or from which the product was opened.
    pub list: Option<List>,
    pub lines: Vec<Line>,
    /// A random number for values that a format makes up, such as ids.
    pub number: u64,
}

/// A product in an event.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub product: &'static Product,
    pub name: &'static str,
    /// From 0.
    pub position: usize,
    pub quantity: u32,
}

pub struct Shop {
    now: DateTime<Utc>,
    /// The numbers of products in a list view, equally likely.
    list_view_sizes: &'static [usize],
    people: u32,
}

impl Shop {
    pub fn new(now: DateTime<Utc>, list_view_sizes: &'static [usize]) -> Self {
        Self {
            now,
            list_view_sizes,
            people: 0,
        }
    }

    /// The events of all visits of the next person, by time.
    pub fn next_person(&mut self, random: &mut StdRng) -> Vec<Event> {
        self.people += 1;
        let platforms = ["ANDROID", "ANDROID", "IOS"];
        let platform = platforms.choose(random).copied().unwrap_or("ANDROID");
        let is_tablet = self.people.is_multiple_of(11);
        let Ok(language) = LANGUAGES.choose_weighted(random, |language| language.share) else {
            return Vec::new();
        };
        let person = Person {
            number: self.people,
            platform,
            device_category: if is_tablet { "tablet" } else { "mobile" },
            country: language
                .countries
                .choose(random)
                .copied()
                .unwrap_or_default(),
        };
        let until = self.now - LONGEST_VISIT;
        let mut begin = until - TimeDelta::seconds(random.random_range(0..(DAYS * 86_400 - 3_600)));
        let mut events = Vec::new();
        let mut remembered = None;
        for _ in 0..MOST_VISITS {
            let Ok(traffic) = TRAFFIC.choose_weighted(random, |traffic| traffic.share) else {
                return Vec::new();
            };
            let mut visit = Visit {
                shop: self,
                random,
                person,
                is_signed_in: true,
                began: begin,
                traffic,
                clock: begin,
                events: &mut events,
            };
            visit.is_signed_in = visit.random.random_bool(0.975);
            remembered = visit.play(language, remembered);
            let clock = visit.clock;
            let pause = BETWEEN_VISITS + TimeDelta::seconds(random.random_range(0..40 * 3_600));
            begin = clock + pause;
            if begin > until || random.random_bool(0.25) {
                break;
            }
        }
        events
    }
}

/// The state of a visit.
struct Visit<'a> {
    shop: &'a Shop,
    random: &'a mut StdRng,
    person: Person,
    is_signed_in: bool,
    began: DateTime<Utc>,
    traffic: &'static Traffic,
    clock: DateTime<Utc>,
    events: &'a mut Vec<Event>,
}

impl Visit<'_> {
    /// Plays the visit. Returns the product that the person may come back for.
    fn play(
        &mut self,
        language: &Language,
        remembered: Option<&'static Product>,
    ) -> Option<&'static Product> {
        if let Some(product) = remembered
            && self.random.random_bool(0.4)
        {
            self.look_at(product, None);
            self.buy(product);
        }
        let mut liked = None;
        for _ in 0..self.random.random_range(1..=4) {
            let list = match self.random.random_bool(0.3) {
                true => language
                    .searches
                    .choose(self.random)
                    .copied()
                    .map(List::search),
                false => language.lists.choose(self.random).copied(),
            };
            let Some(list) = list else { continue };
            let shown = self.scroll(list);
            if !self.random.random_bool(list.appeal) {
                continue;
            }
            let Ok(opened) = shown.choose_weighted(self.random, |product| product.appeal) else {
                continue;
            };
            self.look_at(opened, Some(list));
            if self.random.random_bool(opened.appeal / 2.0) {
                self.buy(opened);
            } else {
                liked = Some(*opened);
            }
        }
        liked
    }

    /// Shows a list in parts, as a person scrolls through it.
    fn scroll(&mut self, list: List) -> Vec<&'static Product> {
        let mut shown = Vec::new();
        for _ in 0..self.random.random_range(1..=6) {
            // A search can find nothing.
            let is_empty = self.random.random_bool(0.01);
            let sizes = self.shop.list_view_sizes;
            let size = sizes.choose(self.random).copied().unwrap_or(1);
            let mut lines = Vec::new();
            for _ in 0..(if is_empty { 0 } else { size }) {
                let product = self.popular_product();
                lines.push(self.line(product, shown.len(), 1));
                shown.push(product);
            }
            self.push("view_item_list", Some(list), lines);
        }
        shown
    }

    /// A random product; the first ones are more likely.
    fn popular_product(&mut self) -> &'static Product {
        let share: f64 = self.random.random();
        let rank = share.powf(1.6) * PRODUCTS.len() as f64;
        let [most_popular, ..] = &PRODUCTS;
        PRODUCTS.get(rank as usize).unwrap_or(most_popular)
    }

    fn look_at(&mut self, product: &'static Product, list: Option<List>) {
        let line = self.line(product, 0, 1);
        self.push("view_item", list, vec![line]);
    }

    /// A checkout, which mostly ends in a purchase.
    fn buy(&mut self, product: &'static Product) {
        let quantity = self.random.random_range(1..=3);
        let mut lines = vec![self.line(product, 0, quantity)];
        if self.random.random_bool(0.3) {
            let another = self.popular_product();
            if another.id != product.id && another.appeal > 0.0 {
                self.look_at(another, None);
                lines.push(self.line(another, 1, 1));
            }
        }
        self.push("begin_checkout", None, lines.clone());
        if self.random.random_bool(0.65) {
            self.push("purchase", None, lines);
        }
    }

    fn line(&self, product: &'static Product, position: usize, quantity: u32) -> Line {
        let is_renamed = self.clock > self.shop.now - RENAMED;
        let name = match product.former_name {
            Some(former) if !is_renamed => former,
            _ => product.name,
        };
        Line {
            product,
            name,
            position,
            quantity,
        }
    }

    fn app_version(&self) -> &'static str {
        let number = self.person.number;
        let hours = i64::from(number % UPDATE_HOURS);
        let updated = self.shop.now - RELEASED + TimeDelta::hours(hours);
        if number.is_multiple_of(NEVER_UPDATES) {
            "7.3.9"
        } else if self.began < updated {
            "7.4.2"
        } else {
            "7.5.0"
        }
    }

    fn push(&mut self, name: &'static str, list: Option<List>, lines: Vec<Line>) {
        let micros = self.random.random_range(1_500_000..40_000_000);
        self.clock += TimeDelta::microseconds(micros);
        self.events.push(Event {
            at: self.clock,
            name,
            person: self.person,
            is_signed_in: self.is_signed_in,
            visit_began: self.began,
            traffic: self.traffic,
            app_version: self.app_version(),
            list,
            lines,
            number: self.random.random(),
        });
    }
}
