"""The packages of the wheel; all else is in pyproject.toml.

`assets/` lies at the top of a checkout and inside the package `groundwork` of a wheel, where groundwork/files.py looks.
pyproject.toml can say this only with every package listed by hand.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["groundwork*", "eg3d*", "l2cs*", "dataset_preprocessing*", "redirection*"]),
        "groundwork.assets",
    ],
    package_dir={"groundwork.assets": "assets"},
)
