"""Certificates of maps: what no attack can do."""

from surefoot.certify._base import Certifier as Certifier
from surefoot.certify._certificate import (
    Certificate as Certificate,
    join_certificates as join_certificates,
)
from surefoot.certify._exact import Exact as Exact
from surefoot.certify._gradient_bounds import gradient_bounds as gradient_bounds
from surefoot.certify._map_bounds import map_bounds as map_bounds
from surefoot.certify._sides import FLOORS as FLOORS, Floor as Floor, Sides as Sides, sides as sides
from surefoot.certify._smoothed import Frequencies as Frequencies, Smoothed as Smoothed

__all__ = [
    "Certificate",
    "Certifier",
    "Exact",
    "Floor",
    "Frequencies",
    "Sides",
    "Smoothed",
    "gradient_bounds",
    "map_bounds",
    "sides",
]
