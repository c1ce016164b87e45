//! How a name can look like a brand's: the classes, and how much each says on its own.

/// A way to look alike. The names are those that users write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Homoglyph,
    MissingDot,
    TldAdded,
    Subdomain,
    Combosquat,
    Hyphenation,
    SubdomainSplit,
    Transposition,
    Repetition,
    Omission,
    VowelSwap,
    Keyboard,
    BitFlip,
    Replacement,
    Addition,
    Plural,
    MovedLetter,
    DoubleReplacement,
    TwoChanges,
    TldSwap,
}

impl Class {
    pub const ALL: [Self; 20] = [
        Self::Homoglyph,
        Self::MissingDot,
        Self::TldAdded,
        Self::Subdomain,
        Self::Combosquat,
        Self::Hyphenation,
        Self::SubdomainSplit,
        Self::Transposition,
        Self::Repetition,
        Self::Omission,
        Self::VowelSwap,
        Self::Keyboard,
        Self::BitFlip,
        Self::Replacement,
        Self::Addition,
        Self::Plural,
        Self::MovedLetter,
        Self::DoubleReplacement,
        Self::TwoChanges,
        Self::TldSwap,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Homoglyph => "homoglyph",
            Self::MissingDot => "missing-dot",
            Self::TldAdded => "tld-added",
            Self::Subdomain => "subdomain",
            Self::Combosquat => "combosquat",
            Self::Hyphenation => "hyphenation",
            Self::SubdomainSplit => "subdomain-split",
            Self::Transposition => "transposition",
            Self::Repetition => "repetition",
            Self::Omission => "omission",
            Self::VowelSwap => "vowel-swap",
            Self::Keyboard => "keyboard",
            Self::BitFlip => "bit-flip",
            Self::Replacement => "replacement",
            Self::Addition => "addition",
            Self::Plural => "plural",
            Self::MovedLetter => "moved-letter",
            Self::DoubleReplacement => "double-replacement",
            Self::TwoChanges => "two-changes",
            Self::TldSwap => "tld-swap",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whether it is a number of changes, which a brand may bound.
    pub(super) const fn is_edit(self) -> bool {
        matches!(
            self,
            Self::Transposition
                | Self::Repetition
                | Self::Omission
                | Self::VowelSwap
                | Self::Keyboard
                | Self::BitFlip
                | Self::Replacement
                | Self::Addition
                | Self::MovedLetter
                | Self::DoubleReplacement
                | Self::TwoChanges
        )
    }

    /// From 0 to 1: how much it says that nobody but a deceiver would choose such a name. Judged, not measured.
    pub(super) const fn weight(self) -> f64 {
        match self {
            Self::Homoglyph => 0.95,
            Self::MissingDot | Self::TldAdded => 0.9,
            Self::Hyphenation | Self::SubdomainSplit | Self::Transposition | Self::Repetition => 0.8,
            Self::Omission | Self::VowelSwap | Self::Keyboard | Self::BitFlip | Self::Replacement => 0.75,
            Self::Addition | Self::Plural | Self::MovedLetter | Self::DoubleReplacement => 0.7,
            Self::Subdomain | Self::Combosquat | Self::TwoChanges => 0.6,
            // Mostly the owner's own, or a namesake in another country.
            Self::TldSwap => 0.3,
        }
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Classes(u32);

impl Classes {
    pub(super) const ALL: Self = Self((1 << Class::ALL.len()) - 1);
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u32)
    }

    pub(super) const fn contains(self, class: Class) -> bool {
        self.0 & 1 << class as u32 != 0
    }
}
