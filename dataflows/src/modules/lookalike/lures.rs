//! The words that deceivers write next to a brand.
//!
//! They also say where a brand's word ends in a label without hyphens: `paypallogin` is `paypal` and `login`, while
//! the `pur` of `purchase` is nothing.

/// General words of logging in, paying, parcels, support and the web; sorted. Left out are those that make English
/// words of short names: `sign`, `back`, `start`, `check` (in front of `ups`), `other`, `like` (of `wise`).
#[rustfmt::skip]
const LURES: &[&str] = &[
    "access", "account", "accounts", "activate", "activation", "admin", "agent", "airdrop", "alert", "alerts",
    "android", "api", "app", "appeal", "approval", "apps", "assist", "auth", "authenticate", "authorize", "bank",
    "banking", "beta", "billing", "blog", "bonus", "business", "buy", "card", "cards", "care", "cash", "cdn",
    "center", "central", "centre", "chat", "claim", "claims", "click", "client", "clients", "cloud", "club", "coin",
    "com", "community", "confirm", "confirmation", "connect", "connection", "contact", "corp", "coupon", "credit",
    "crypto", "customer", "customers", "customs", "dashboard", "deal", "deals", "delivery", "demo", "deposit", "dev",
    "device", "digital", "direct", "docs", "document", "download", "downloads", "email", "employee", "enroll",
    "event", "events", "exchange", "express", "fee", "file", "files", "finance", "find", "fix", "form", "forum",
    "free", "fund", "funds", "gift", "giftcard", "gifts", "giveaway", "global", "group", "guide", "help",
    "helpcenter", "helpdesk", "home", "host", "hosting", "hotline", "http", "https", "hub", "id", "idcheck",
    "identity", "inbox", "info", "install", "invest", "invoice", "invoices", "ios", "job", "jobs", "kyc", "ledger",
    "limited", "link", "live", "loan", "loans", "lock", "locked", "log", "login", "logon", "mail", "manage", "market",
    "marketing", "media", "member", "members", "message", "messages", "mobile", "money", "my", "net", "new", "news",
    "nft", "notice", "notification", "notifications", "now", "offer", "offers", "office", "official", "online",
    "order", "orders", "org", "owner", "package", "parcel", "partner", "partners", "passport", "password", "pay",
    "payment", "payments", "payout", "phone", "portal", "post", "premium", "prize", "pro", "profile", "promo",
    "promotion", "protect", "protection", "recover", "recovery", "refund", "refunds", "register", "registration",
    "renew", "renewal", "report", "request", "reset", "resolve", "restore", "return", "returns", "review", "reward",
    "rewards", "safe", "safety", "sale", "sales", "schedule", "search", "secure", "secured", "security", "server",
    "service", "services", "session", "settings", "setup", "share", "ship", "shipment", "shipping", "shop",
    "shopping", "signin", "signup", "site", "software", "solution", "solutions", "ssl", "sso", "staff", "stake",
    "staking", "statement", "status", "store", "subscribe", "subscription", "support", "suspended", "swap", "system",
    "systems", "tax", "team", "tech", "test", "ticket", "token", "tokens", "track", "tracking", "trade", "trading",
    "transaction", "transfer", "trust", "unlock", "update", "updates", "upgrade", "user", "users", "validate",
    "validation", "vault", "verification", "verified", "verify", "view", "vip", "voucher", "wallet", "wallets",
    "warning", "warranty", "web", "webauth", "webmail", "website", "win", "winner", "withdraw", "withdrawal", "ww",
    "www", "zone",
];

/// Whether the text is one or two lures, digits after them left aside.
pub(super) fn is_lure_run(text: &[u8]) -> bool {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let words = &text[..text.len() - digits];
    lures_before(words).any(|rest| rest.is_empty() || lures_before(rest).any(<[u8]>::is_empty))
}

/// What is left of the text after each lure that it begins with, the shortest lure first.
fn lures_before(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut known = LURES;
    let narrowed = (1..=text.len()).map_while(move |len| {
        let beginning = &text[..len];
        known = &known[known.partition_point(|lure| lure.as_bytes() < beginning)..];
        // A lure comes before the longer ones that begin with it.
        known.first().filter(|lure| lure.as_bytes().starts_with(beginning)).map(|lure| (lure.len() == len, len))
    });
    narrowed.filter(|(is_whole, _)| *is_whole).map(|(_, len)| &text[len..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        let unsorted = LURES.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(unsorted, None);
    }

    #[test]
    fn runs() {
        for (text, want) in [
            ("login", true),
            ("securelogin", true),
            ("login24", true),
            ("pur", false),
            ("other", false),
            ("start", false),
            ("24", false),
            ("", false),
            ("loginloginlogin", false),
        ] {
            assert_eq!(is_lure_run(text.as_bytes()), want, "{text}");
        }
    }
}
