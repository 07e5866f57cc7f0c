//! Which filters of jq an author may use: those that end, and ask neither clock nor environment.

use std::sync::LazyLock;

use jaq_core::load::parse::Def;

/// The definitions of jq's library, of which an expression takes along what it uses.
pub(crate) static LIBRARY: LazyLock<Vec<Def>> =
    LazyLock::new(|| jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).collect());

/// Defined in jq's own language, as name and number of arguments.
pub(crate) const DEFINED: &str = "\
    empty/0 error/0 error/1 true/0 false/0 not/0 select/1 tostring/0 map/1 map_values/1 walk/1 \
    del/1 first/0 last/0 nth/1 nth/2 to_entries/0 with_entries/1 isempty/1 all/0 all/1 all/2 \
    any/0 any/1 any/2 null/0 isboolean/0 isnumber/0 isstring/0 isarray/0 isobject/0 nan/0 \
    infinite/0 isnan/0 isinfinite/0 isfinite/0 isnormal/0 abs/0 logb/0 significand/0 pow10/0 \
    drem/2 nexttoward/2 scalb/2 gamma/0 type/0 values/0 nulls/0 booleans/0 numbers/0 finites/0 \
    normals/0 strings/0 arrays/0 objects/0 iterables/0 scalars/0 min_by/1 max_by/1 min/0 max/0 \
    unique_by/1 unique/0 keys/0 capture_of_match/0 test/1 test/2 scan_/2 scan/1 scan/2 match/1 \
    match/2 capture/1 capture/2 split/1 split/2 splits/1 splits/2 sub/2 sub/3 gsub/2 gsub/3 \
    todate/0 fromdate/0 @sh/0 @text/0 @html/0 @htmld/0 @uri/0 @urid/0 @base64/0 @base64d/0 \
    @json/0 tonumber/0 toboolean/0 totype/2 transpose/0 in/1 inside/1 index/1 rindex/1 \
    getpath/1 paths/0 paths/1 range/1 range/2";

/// Filters that look at their whole input and give at most one value.
pub(crate) const NATIVE: &str = "\
    error_empty/0 keys_unsorted/0 key_values/0 add/0 join/1 from_entries/0 flatten/0 flatten/1 \
    fromjson/0 tojson/0 length/0 utf8bytelength/0 has/1 bsearch/1 implode/0 ascii_downcase/0 \
    ascii_upcase/0 reverse/0 sort/0 startswith/1 endswith/1 ltrimstr/1 rtrimstr/1 trim/0 \
    ltrim/0 rtrim/0 escape_sh/0 escape_html/0 unescape_html/0 encode_uri/0 decode_uri/0 \
    encode_base64/0 decode_base64/0 fromdateiso8601/0 todateiso8601/0 strftime/1 strptime/1 \
    gmtime/0 mktime/0 floor/0 round/0 ceil/0 acos/0 acosh/0 asin/0 asinh/0 atan/0 atanh/0 \
    cbrt/0 cos/0 cosh/0 erf/0 exp/0 exp10/0 exp2/0 expm1/0 fabs/0 frexp/0 ilogb/0 log/0 \
    log10/0 log1p/0 log2/0 modf/0 nearbyint/0 rint/0 sin/0 sinh/0 sqrt/0 tan/0 tanh/0 tgamma/0 \
    trunc/0 atan2/2 copysign/2 fdim/2 fmax/2 fmin/2 fmod/2 hypot/2 ldexp/2 nextafter/2 pow/2 \
    remainder/2 scalbln/2 fma/3";

/// Filters that run their argument for each element of their input.
pub(crate) const EACH: &str = "sort_by/1 group_by/1 min_by_or_empty/1 max_by_or_empty/1";

/// Filters that an author may know, and that this engine does not run.
const REFUSED: &str = "\
    recurse repeat while until input inputs debug stderr env halt halt_error now localtime \
    strflocaltime setpath delpaths pick tobytes combinations leaf_paths builtins \
    input_line_number input_filename @csv @tsv tostream fromstream truncate_stream path_value \
    getenv lgamma j0 j1 y0 y1 jn yn erfc modulemeta get_search_list limit range stderr_empty \
    debug_empty splits ascii matches";

pub(crate) fn has(list: &str, (name, arity): (&str, usize)) -> bool {
    list.split_whitespace()
        .filter_map(|known| known.rsplit_once('/'))
        .any(|(known, arguments)| known == name && arguments.parse() == Ok(arity))
}

pub(crate) fn is_refused(name: &str) -> bool {
    let known = |list: &str| {
        list.split_whitespace()
            .any(|known| known.rsplit_once('/').is_some_and(|(known, _)| known == name))
    };
    REFUSED.split_whitespace().any(|refused| refused == name) && !known(DEFINED) && !known(NATIVE)
}
