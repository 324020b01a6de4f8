// Numbers and codes as people read them.
const counts = new Intl.NumberFormat("en");
const count = (value) => (value === null || value === undefined ? "–" : counts.format(value));
const percent = (value, digits = 1) => `${(value * 100).toFixed(digits)}%`;
const signed = (value, digits = 1) => {
  const text = Math.abs(value * 100).toFixed(digits);
  return `${value < 0 && Number(text) !== 0 ? "−" : "+"}${text}%`;
};
const interval = ([low, high]) => `${signed(low)} to ${signed(high)}`;

// Three significant digits, so that small means do not vanish.
function plain(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: Math.min(2, digits) }).format(value);
}

function probability(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return "< 0.001";
  return value > 0.999 && value < 1 ? "> 0.999" : value.toFixed(3);
}

const equals = (value) => { const text = probability(value); return /^[<>]/.test(text) ? text : `= ${text}`; };
const date = (text) => (text ? new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }).format(new Date(text)) : "–");
const shortDate = (text) => new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" }).format(new Date(text));
const sentence = (code) => { const text = code.replaceAll("_", " "); return text[0].toUpperCase() + text.slice(1); };

const DECISIONS = {
  ship: { sign: "✓", short: "Ship" },
  no_ship: { sign: "✕", short: "Do not ship" },
  keep_running: { sign: "…", short: "Keep running" },
};

// What the codes of a decision mean.
const CODES = {
  not_started: "The experiment was never started.",
  srm_mismatch: "The sample ratio is off: more or fewer users reached an arm than its weight promises. The arms cannot be compared until the cause is found.",
  filter_imbalance: "More users were filtered, excluded or saw several variations in some arms than in others. Comparing the rest would mislead.",
  guardrail_harmed: "A guardrail got worse for certain.",
  primary_worse: "The primary metric got worse for certain.",
  effect_too_small: "The effect is for certain smaller than the least worth shipping.",
  no_primary_metric: "There is no primary metric to decide by.",
  primary_undefined: "There are too few data on the primary metric yet.",
  planned_size_not_reached: "The planned number of users is not reached: this mode decides then, once.",
  not_significant: "No effect on the primary metric can be told from chance yet.",
  mde_missing: "Nobody said what effect is worth shipping: set analysis.mde.",
  min_days_not_reached: "The minimum number of full days has not passed: days of the week differ.",
  guardrail_undecided: "A guardrail is still uncertain.",
  won: "The primary metric improved for certain, and no guardrail objects.",
  ended_undecided: "It was stopped before anything was certain.",
};
const told = (code) => CODES[code] || sentence(code);

const MODES = {
  sequential: "Sequential: valid however often you look",
  fixed: "Fixed: one test, at the planned size",
  group_sequential: "Group-sequential: one test at each planned look",
  bayesian: "Bayesian: by the belief about the effect",
};

const REASONS = {
  no_units: "no users yet", zero_variance: "no variation in the data yet", too_few_units: "too few users yet",
  zero_baseline: "the control's mean is zero", baseline_not_positive: "the control's mean is not above zero",
};
const why = (code) => REASONS[code] || sentence(code || "undefined").toLowerCase();
