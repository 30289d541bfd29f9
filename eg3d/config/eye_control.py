"""Training with the gaze as an input (eg3d/models/eye_field.py)."""

from dataclasses import dataclass

from groundwork.settings import Need, check_settings, non_negative, setting


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """Which gaze training asks for, and where in the volume it may change anything."""

    on: bool = setting(
        False,
        flag="--gaze-control",
        help="Train eyes whose gaze can be set in the generator of --resume, which stays as it is (docs/eye_field.md).",
        group="gaze",
    )
    rig: float = setting(
        0.0,
        flag="--gaze-rig",
        help="Weight of the rig loss: round the eyeballs, pictures stay close to those of the generator of --resume.",
        check=non_negative("0 turns it off"),
        group="gaze",
        needs=(
            Need(lambda run: run.control.on or run.control.rig == 0, "a gaze that can be set: add {control.on:True}"),
        ),
    )
    camera_d: bool = setting(
        False,
        flag="--gaze-camera-d",
        help="Generated eyes that the discriminator learns from look into the camera, as those of data do.",
        group="gaze",
        needs=(Need(lambda run: run.control.on, "a gaze that can be set: add {control.on:True}"),),
    )
    second_camera: bool = setting(
        False,
        flag="--gaze-second-camera",
        help="The gaze term also looks from another camera, drawn evenly: an iris that lies too deep in the head looks "
        "right from one camera alone.",
        group="gaze",
        needs=(Need(lambda run: run.control.on, "a gaze that can be set: add {control.on:True}"),),
    )
    yaw: float = 0.6  # the wanted gaze is uniform within +-yaw, +-pitch in the head frame, rad
    pitch: float = 0.3
    along_face: float = 0.1  # part of the pictures whose eyes shall look along the face instead
    into_camera: float = 0.1  # and into the camera
    camera_yaw: float = 0.5  # the second camera is uniform within +-camera_yaw, +-camera_pitch (see `lookat_pose`)
    camera_pitch: float = 0.3
    inner: float = 0.3  # radius of the eye field alone, in distances of the eyes; human eyes are 0.2 in half width
    outer: float = 0.45  # from here on there is the base alone
    eyeball: float = 0.24  # within this radius, in the same unit, the rig loss looks away
    sees_latent: bool = False  # see EyeFieldConfig

    def __post_init__(self):
        check_settings(self)
        if not (self.along_face >= 0 and self.into_camera >= 0 and self.along_face + self.into_camera <= 1):
            raise ValueError("along_face and into_camera are parts of the pictures; together they are at most 1")

    @property
    def looked_at(self) -> float | None:
        """From which radius on the rig loss looks, if there is one."""
        return self.eyeball if self.rig > 0 else None

    def on_base(self, base: dict, eye_x: float, eye_y: float) -> dict:
        """The plain configuration of an eye field on that of its base."""
        places = {"eye_x": eye_x, "eye_y": eye_y, "inner": self.inner, "outer": self.outer}
        return {"class": "EyeField", "base": base, **places, "sees_latent": self.sees_latent}
