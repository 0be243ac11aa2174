//! stand-in
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    Minutes(u32),
    Hours(u32),
    Days(u32),
    Weeks(u32),
    Months(u32),
    Years(u32),
}
impl std::fmt::Display for Granularity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1 week")
    }
}
impl std::str::FromStr for Granularity {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self::Weeks(1))
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Calendar {
    pub timezone: chrono_tz::Tz,
    pub week_start: chrono::Weekday,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}
impl Calendar {
    pub fn window_of(&self, _g: Granularity, _i: i64) -> Option<Window> {
        None
    }
    pub fn previous(&self, _g: Granularity, _w: &Window) -> Option<Window> {
        None
    }
}
pub fn unit(_g: &[Granularity]) -> Granularity {
    Granularity::Days(1)
}
