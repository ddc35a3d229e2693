"""Enlarge maps at chosen pixels, and solve for the linear models there: the inner loops of matting (numba, CPU)."""

import math

import numpy as np

from selfieavatar.io.compiled import njit


@njit()
def _neighbours(count, coarse):
    """Find the coarse pixels before and after each of `count` pixels on an axis, and the weight of the latter."""
    at = np.minimum(np.maximum((np.arange(count) + 0.5) * (coarse / count) - 0.5, 0.0), coarse - 1.0)
    before = at.astype(np.int64)
    return before, np.minimum(before + 1, coarse - 1), (at - before).astype(np.float32)


@njit()
def enlarge_at(maps, size, where):
    """Enlarge (h,w,C) to `size` (width, height) as `guided.enlarge` does, but only at some pixels: (C,N).

    where: (N,) flat indices of these pixels, ascending.
    """
    rows, columns, channels = maps.shape
    upper, lower, below = _neighbours(size[1], rows)
    left, right, beside = _neighbours(size[0], columns)
    line, picked = np.empty((columns, channels), np.float32), np.empty((channels, len(where)), np.float32)
    flat, flat_line, row = maps.reshape(rows, -1), line.reshape(-1), -1
    for n in range(len(where)):
        if row < 0 or where[n] >= (row + 1) * size[0]:
            row = where[n] // size[0]
            above, under, share = flat[upper[row]], flat[lower[row]], below[row]
            for k in range(len(flat_line)):
                flat_line[k] = above[k] + share * (under[k] - above[k])
        column = where[n] - row * size[0]
        before, after, share = left[column], right[column], beside[column]
        for c in range(channels):
            picked[c, n] = line[before, c] + share * (line[after, c] - line[before, c])
    return picked


@njit()
def pick(image, where, scale):
    """Pick the colours of a flat image (H*W,3) at the indices `where` (N,), times `scale`: (3,N) float32."""
    picked = np.empty((3, len(where)), np.float32)
    for n in range(len(where)):
        for c in range(3):
            picked[c, n] = scale * image[where[n], c]
    return picked


@njit()
def linear(models, colours):
    """Evaluate slope (3) and offset, together (4,N), for colours (3,N)."""
    values = np.empty(colours.shape[1], np.float32)
    for n in range(len(values)):
        values[n] = (
            models[0, n] * colours[0, n] + models[1, n] * colours[1, n] + models[2, n] * colours[2, n] + models[3, n]
        )
    return values


@njit(error_model="numpy")
def window_models(means, epsilon):
    """Fit the linear model of each window: slopes a = (cov(I) + eps)^-1 cov(I, p) and the offset.

    means: 13 planes (H,W) of the window means of r, g, b, p, their products rr, rg, rb, gg, gb, bb, and rp, gp, bp.
    Returns (4,H,W).
    """
    m_r, m_g, m_b, m_p, m_rr, m_rg, m_rb, m_gg, m_gb, m_bb, m_rp, m_gp, m_bp = means
    models = np.empty((4, *m_r.shape), np.float32)
    for row in range(m_r.shape[0]):
        for column in range(m_r.shape[1]):
            r, g, b, p = m_r[row, column], m_g[row, column], m_b[row, column], m_p[row, column]
            rr, rg, rb = m_rr[row, column] - r * r + epsilon, m_rg[row, column] - r * g, m_rb[row, column] - r * b
            gg, gb, bb = (
                m_gg[row, column] - g * g + epsilon,
                m_gb[row, column] - g * b,
                m_bb[row, column] - b * b + epsilon,
            )
            cr, cg, cb = m_rp[row, column] - r * p, m_gp[row, column] - g * p, m_bp[row, column] - b * p
            # Cramer's rule for the symmetric 3 x 3 system, written out.
            i00, i01, i02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
            i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
            scale = np.float32(1.0) / (rr * i00 + rg * i01 + rb * i02)
            ar = (i00 * cr + i01 * cg + i02 * cb) * scale
            ag = (i01 * cr + i11 * cg + i12 * cb) * scale
            ab = (i02 * cr + i12 * cg + i22 * cb) * scale
            models[0, row, column], models[1, row, column], models[2, row, column] = ar, ag, ab
            models[3, row, column] = p - ar * r - ag * g - ab * b
    return models


@njit()
def _smoothstep(value, low, high):
    """Interpolate smoothly from 0 at `low` to 1 at `high`."""
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


@njit(error_model="numpy")
def line_models(near, far):
    """Fit alpha as a linear function of colour to pairs of local colours (5,N), see `colour_line.local_colour`.

    Returns (7,N): slope (3) and offset, confidence, confidence that it is foreground, and noise.
    """
    models = np.empty((7, near.shape[1]), np.float32)
    for n in range(near.shape[1]):
        r, g, b = near[0, n] - far[0, n], near[1, n] - far[1, n], near[2, n] - far[2, n]
        length = r * r + g * g + b * b
        inverse = 1.0 / (length + 1e-5)
        models[0, n], models[1, n], models[2, n] = r * inverse, g * inverse, b * inverse
        models[3, n] = -(r * far[0, n] + g * far[1, n] + b * far[2, n]) * inverse
        # Contrast to noise: below about two standard deviations the position on the line is unreliable.
        known, scatter = near[4, n] > 0.99, far[3, n]
        models[4, n] = known * _smoothstep(length / (length + 4.0 * (near[3, n] + scatter) + 0.004), 0.5, 0.8)
        models[5, n] = known * _smoothstep(length / (length + 4.0 * scatter + 0.004), 0.5, 0.8)
        models[6, n] = 3.0 * math.sqrt(scatter * inverse)
    return models


@njit()
def project(models, colours):
    """Project colours (3,N) onto their lines (7,N): alpha and confidence, each (N,)."""
    alpha, confidence = linear(models, colours), np.empty(colours.shape[1], np.float32)
    for n in range(len(alpha)):
        alpha[n] = min(max(alpha[n], 0.0), 1.0)
        # At the person's end of the line the scatter of the person's colours is irrelevant.
        confidence[n] = models[4, n] + _smoothstep(alpha[n], 0.7, 1.0) * (models[5, n] - models[4, n])
    return alpha, confidence
