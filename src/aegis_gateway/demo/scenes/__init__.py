"""The scenes of the demo, in order."""

from aegis_gateway.demo.scenes import (
    scene_0_without,
    scene_1_registration,
    scene_2_rush,
    scene_3_rate,
    scene_4_ceiling,
    scene_5_under_the_ceiling,
    scene_6_revoked,
    scene_7_loop,
    scene_8_run,
    scene_9_shadow,
    scene_10_accounts,
)
from aegis_gateway.demo.story import Scene

SCENES: tuple[Scene, ...] = (
    scene_0_without.SCENE,
    scene_1_registration.SCENE,
    scene_2_rush.SCENE,
    scene_3_rate.SCENE,
    scene_4_ceiling.SCENE,
    scene_5_under_the_ceiling.SCENE,
    scene_6_revoked.SCENE,
    scene_7_loop.SCENE,
    scene_8_run.SCENE,
    scene_9_shadow.SCENE,
    scene_10_accounts.SCENE,
)
