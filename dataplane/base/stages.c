#include "dataplane/base/stages.h"

const char *const stage_names[STAGE_COUNT] = {
#define STAGE(identifier, name, help) [STAGE_##identifier] = name,
#include "dataplane/base/stages.def"
#undef STAGE
};
_Static_assert(METRIC_LOOP_PASSES_LONGEST - METRIC_LOOP_PASSES_UNDER_1US + 1 ==
                   STAGES_LENGTH_CLASSES,
               "one row per class");
_Static_assert(METRIC_LOOP_RESIDENCE_LONGEST - METRIC_LOOP_RESIDENCE_UNDER_500NS + 1 ==
                   STAGES_RESIDENCE_CLASSES,
               "one row per class");
