"""What a map is: its layout, rows of numbers, counts, ranks, reductions to one number a place."""

from surefoot.maps._layout import (
    LAYOUTS as LAYOUTS,
    Layout as Layout,
    channel_axis as channel_axis,
    check_layout as check_layout,
    fitted as fitted,
    known_layout as known_layout,
    layout_of as layout_of,
    map_shape as map_shape,
    place_axes as place_axes,
    places as places,
    said_by as said_by,
    spread as spread,
)
from surefoot.maps._parts import AnyLayout as AnyLayout, Parts as Parts
from surefoot.maps._ranks import (
    average as average,
    changes as changes,
    order as order,
    ordinal as ordinal,
    positions as positions,
    run_starts as run_starts,
    top as top,
)
from surefoot.maps._reduce import (
    Reduction as Reduction,
    heatmap as heatmap,
    reduce as reduce,
)
from surefoot.maps._rows import (
    Count as Count,
    check_grid as check_grid,
    check_map as check_map,
    check_mass as check_mass,
    check_pair as check_pair,
    count as count,
    norm as norm,
    ratio as ratio,
    result_type as result_type,
    rows as rows,
    wide as wide,
)
