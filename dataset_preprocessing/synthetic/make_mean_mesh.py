"""Makes eg3d/faces/data/mean_mesh.npz: the mean face, as FaceMesh sees heads of the embedded world."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import io

import click
import numpy as np
import torch
from tqdm import tqdm

from eg3d.faces.face_mesh import FaceMesh, five_of
from eg3d.faces.mesh_pose import framed_face, upright
from eg3d.faces.similarity import mean_shape, umeyama
from eg3d.geometry.landmarks import STANDARD_DM
from eg3d.running import cli
from eg3d.world.rendered_sets import IDENTITIES_PER_SEED, camera_label
from eg3d.world.worlds import WORLDS, world_of
from groundwork.files import atomic_write

SIZE, YAWS = 256, (-0.25, 0.0, 0.25)


@click.command(cls=cli.Command)
@click.option("--dest", type=cli.OUTPUT_FILE, required=True, help="File to write, FILE.npz.")
@click.option("--world", type=click.Choice(WORLDS), default="people", show_default=True, help="Whose heads.")
@click.option("--heads", type=click.IntRange(min=2), default=300, show_default=True, help="Number of heads.")
@cli.seed_option
@cli.device_option
def main(dest, world, heads, seed, device):
    """Draws heads from three sides, reads each picture and its mirror image, and takes the mean of the meshes.

    Each mesh is moved, turned and scaled to the mean of all. The mean is put where its five points are nearest to those
    of the standard face, in decimetres.
    """
    device, first = cli.pick_device(device), seed * IDENTITIES_PER_SEED
    mesh = FaceMesh(device)
    numbers = tqdm(range(first, first + heads), "reading heads")
    meshes = torch.cat([read(mesh, pictures(world, number).to(device)).cpu() for number in numbers])
    mean = mean_shape(upright(meshes))
    face = umeyama(five_of(mean[None]), STANDARD_DM)(mean)
    rest = (five_of(face)[0] - STANDARD_DM).square().sum(dim=1).mean().sqrt().item()
    out = io.BytesIO()
    np.savez_compressed(out, points=face[0].float().numpy())
    atomic_write(dest, out.getvalue())
    click.echo(f"{len(meshes)} meshes; five points {100 * rest:.1f} mm from the standard face -> {dest}")


def pictures(name: str, number: int) -> torch.Tensor:
    """A head of a world from all sides [K, 3, SIZE, SIZE] in [-1, 1], looking ahead."""
    world = world_of(name)
    head = world.draw("features", number)
    drawn = np.stack([world.render(head, camera_label(yaw, 0.0), (0, 0, 1), SIZE).rgb for yaw in YAWS])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def read(mesh: FaceMesh, drawn: torch.Tensor) -> torch.Tensor:
    """Meshes [2 K, 468, 3] of pictures [K, 3, S, S] and of their mirror images."""
    both = torch.cat([drawn, drawn.flip(3)])
    return mesh.find(both, framed_face(len(both), drawn.shape[-1], drawn.device)).points


if __name__ == "__main__":
    main()
