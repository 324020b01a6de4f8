//! The results page in a real browser: what a reader sees, and what the browser refuses.

use std::time::Duration;

use domain::contribution::Heads;
use domain::plan::Feature;
use domain::{Day, Moments};
use ethnum::I256;
use serde_json::{Value, json};
use testkit::Browser;

use crate::ingress::Ingress;
use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(60);
/// Markup in every text that people write.
const NASTY: &str = "<img src=x onerror=document.title='owned'><b>&amp;";

struct Reader {
    rig: Rig,
    browser: Browser,
    /// Where the page is.
    page: String,
}

impl Reader {
    async fn start(width: u32, dark: bool) -> Reader {
        let rig = Rig::start().await;
        let browser = Browser::start(width, 900, dark).await.unwrap();
        let page = format!("http://{}/", rig.addr);
        Reader { rig, browser, page }
    }

    async fn open(&self, hash: &str) {
        self.browser.open("about:blank").await.unwrap();
        self.browser.open(&format!("{}{hash}", self.page)).await.unwrap();
    }

    async fn shows(&self, text: &str) {
        let shown = async || self.browser.text().await.unwrap().contains(text);
        if testkit::eventually(text, PATIENCE, shown).await.is_err() {
            panic!("{text:?} is not in {:?}", self.browser.text().await.unwrap());
        }
    }

    async fn sign_in(&self, key: &str) {
        self.open("").await;
        self.shows("API key").await;
        self.browser.type_keys(&format!("{key}\u{e007}")).await.unwrap();
    }

    async fn value(&self, expression: &str) -> Value {
        self.browser.run(&format!("return {expression}")).await.unwrap()
    }
}

/// 5,000 users in each arm, of which `converted` converted.
async fn fill(rig: &Rig, key: &str, day: i32, converted: [i64; 2]) {
    let e = rig.store().await.experiment("a", key).await.unwrap().unwrap();
    let plan = e.plan();
    for (variation, converted) in (0..).zip(converted) {
        let heads = Heads { enrolled: 5_000, crossovers: 60, ..Heads::default() };
        let mut moments = Moments { products: vec![I256::ZERO; plan.products.len()], heads };
        let (one, did) = (Feature::One, Feature::Converted(0));
        for (a, b, value) in [(one, one, 5_000), (one, did, converted), (did, did, converted)] {
            moments.products[plan.product_index(a, b).unwrap()] = I256::from(value);
        }
        rig.moments(&e, 0, variation, Day(day), &moments).await;
    }
}

fn definition(key: &str) -> Value {
    json!({
        "key": key, "name": NASTY, "description": NASTY, "labels": [NASTY],
        "variations": [{"key": "control", "name": "As it was"}, {"key": "treatment", "name": NASTY}],
        "metrics": [{"key": NASTY, "event": "purchase", "type": "proportion"}],
        "analysis": {"mde": 0.02},
    })
}

#[tokio::test]
async fn a_reader_signs_in_and_follows_an_answer() {
    let reader = Reader::start(1200, false).await;
    let rig = &reader.rig;
    let e = rig.running(&definition("checkout")).await;
    rig.counter(e.id.0, 0, -1, "never_exposed", 7).await;
    rig.counter(e.id.0, 0, -1, &format!("unused:{NASTY}").replace('\'', "''"), 3).await;
    fill(rig, "checkout", 20_512, [500, 505]).await;
    fill(rig, "checkout", 20_513, [500, 510]).await;

    reader.sign_in("nonsense").await;
    reader.shows("That key is not known here.").await;
    reader.browser.type_keys("send-a\u{e007}").await.unwrap();
    reader.shows("it lacks the scope `read`").await;
    reader.browser.run("document.getElementById('forget').click()").await.unwrap();
    reader.shows("API key").await;
    reader.browser.type_keys("read-a\u{e007}").await.unwrap();
    reader.shows("Experiments").await;
    reader.shows("Keep running").await;
    // By keyboard alone: the first link of the list.
    reader.browser.run("document.querySelector('tbody a').focus()").await.unwrap();
    reader.browser.type_keys("\u{e007}").await.unwrap();
    for text in
        ["Live", "Keep running", "As it was", "10.00%", "10.20%", "+2.0%", "120 users saw more than one"]
    {
        reader.shows(text).await;
    }
    assert_eq!(reader.value("document.activeElement.id").await, "main", "readers are taken to what is new");

    reader.shows("7 conversions name this experiment").await;
    reader.shows(&format!("No metric counts {NASTY} (3)")).await;

    // What changes is shown without asking, and what was opened stays open.
    reader.shows("The same as a table").await;
    reader.browser.run("document.querySelector('.series summary').click()").await.unwrap();
    fill(rig, "checkout", 20_514, [500, 650]).await;
    reader.shows("+30.0%").await;
    assert_eq!(reader.value("document.querySelector('.series details').open").await, true);
    rig.post("/api/v1/experiments/checkout/stop").await;
    reader.shows("Stopped").await;

    // Names are text, whatever is in them.
    reader.shows(NASTY).await;
    assert_eq!(reader.value("document.querySelectorAll('main img, main b').length").await, 0);
    let title = reader.value("document.title").await;
    assert_eq!(title, format!("{NASTY} · abstream"));
    // The key is kept for the tab, and goes when it is told to.
    assert_eq!(reader.value("sessionStorage.getItem('abstream-key')").await, "read-a");
    assert_eq!(reader.value("localStorage.length + document.cookie.length").await, 0);
    reader.browser.run("document.getElementById('forget').click()").await.unwrap();
    reader.shows("API key").await;
    assert_eq!(reader.value("sessionStorage.length").await, 0);
    let refused: Vec<String> = reader.browser.console().await.unwrap();
    let unexpected: Vec<&String> =
        refused.iter().filter(|line| !line.contains("401") && !line.contains("403")).collect();
    assert_eq!(unexpected, Vec::<&String>::new());
}

#[tokio::test]
async fn the_page_fits_a_phone_and_can_be_read_aloud() {
    let reader = Reader::start(390, true).await;
    let rig = &reader.rig;
    rig.running(&definition("checkout")).await;
    fill(rig, "checkout", 20_513, [500, 650]).await;
    rig.admin.post_json("/api/v1/experiments", &definition("draft")).await.unwrap();
    reader.sign_in("read-a").await;
    for (hash, text) in
        [("", "Experiments"), ("#/experiments/checkout", "+30.0%"), ("#/experiments/draft", "Not started")]
    {
        reader.open(hash).await;
        reader.shows(text).await;
        let wide =
            reader.value("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(wide, 0, "{hash} is wider than the screen");
        let nameless = "[...document.querySelectorAll('button, a, input, select, [role=region], svg[role=img]')].filter((one) =>
            !(one.getAttribute('aria-label') || one.textContent.trim() || (one.labels && one.labels.length))).length";
        assert_eq!(reader.value(nameless).await, 0, "{hash} has controls without a name");
        assert_eq!(reader.value("document.querySelectorAll('h1').length").await, 1, "{hash}");
        // WCAG AA: 4.5 to 1, of every text against what is behind it.
        assert_eq!(reader.browser.run(CONTRAST).await.unwrap(), json!([]), "{hash}");
    }
    let ground = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(reader.value(ground).await, "rgb(14, 19, 26)");
    reader.open("#/experiments/nothing").await;
    reader.shows("There is no such experiment.").await;
}

/// As behind an ingress that has other services too.
#[tokio::test]
async fn the_page_and_the_documentation_work_under_a_path() {
    let mut reader = Reader::start(1200, false).await;
    let ingress = Ingress::before(reader.rig.addr, "/tools/ab").await;
    reader.page = format!("http://{}/tools/ab/", ingress.addr);
    reader.rig.running(&definition("checkout")).await;
    fill(&reader.rig, "checkout", 20_513, [500, 510]).await;
    reader.sign_in("read-a").await;
    reader.shows("Keep running").await;
    reader.browser.run("document.querySelector('tbody a').click()").await.unwrap();
    reader.shows("+2.0%").await;
    reader.shows("Live").await;
    fill(&reader.rig, "checkout", 20_514, [500, 650]).await;
    reader.shows("+30.0%").await;
    reader.shows("The same as a table").await;
    reader.open("docs").await;
    reader.shows("/api/v1/experiments/{id}/live-stats").await;
    let asked = ingress.asked();
    let elsewhere: Vec<&String> = asked.iter().filter(|path| !path.starts_with("/tools/ab/")).collect();
    assert_eq!(elsewhere, Vec::<&String>::new());
    for wanted in ["/", "/api/v1/experiments/checkout/live-stats/stream", "/docs", "/openapi.json"] {
        assert!(asked.contains(&format!("/tools/ab{wanted}")), "{wanted} is not in {asked:?}");
    }
}

/// Texts with less contrast than people with weak eyes need.
const CONTRAST: &str = r"
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = channels(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll('body *')].filter((one) => !one.closest('svg') && one.getClientRects().length &&
        [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())).filter((one) => {
        const [a, b] = [light(channels(getComputedStyle(one).color)), light(behind(one))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((one) => one.textContent.slice(0, 40));
";

#[tokio::test]
async fn the_page_asks_for_nothing_else_and_allows_nothing_else() {
    let rig = Rig::start().await;
    let page = testkit::http::Client::at(rig.addr).get("/").await.unwrap();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for outside in ["http://", "https://", "//cdn", "@import", "url("] {
        let found: Vec<&str> = text.lines().filter(|line| line.contains(outside)).collect();
        let own = "const SVG = \"http://www.w3.org/2000/svg\";";
        assert!(found.iter().all(|line| line.trim() == own), "{outside}: {found:?}");
    }
    for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"] {
        assert!(!text.contains(sink), "{sink}");
    }
    let tag = page.header("etag").unwrap();
    let again = rig.admin.request("GET", "/", &[("if-none-match", tag)], "").await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(rig.get("/?a=1").await.status, 422);
    assert_eq!(rig.post("/").await.status, 405);
}
