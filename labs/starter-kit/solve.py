"""A submission to the blind challenge that works. Make it better.

The evaluator calls ``solve`` once for every scene, in a process of its own, with no network and nothing but this folder
and the problem in sight. It may take ten minutes and 4 GB.
"""

from etlab.calibration import calibrate
from etlab.solvers import tv


def solve(problem):
    """Reconstruct one scene: return the volume (nz, ny, nx) and the mismatch that it was reconstructed with.

    ``problem`` has the images ``y`` (n_tilts, n_rows, nx), the nominal ``geometry`` and ``optics``, the declared
    ``fiducials``, and ``spec_ranges``, between which the three parameters of the mismatch lie.
    """
    # 1. What is wrong with the microscope? Gold beads on the film tell the tilt angle, the tilt axis and the gradient.
    found = calibrate(
        problem.y, problem.geometry, problem.spec_ranges, problem.optics, fiducials=problem.fiducials
    )
    # 2. The operator with that mismatch: H(volume) gives images, H.T(images) a volume.
    H = problem.operator(found.mismatch)
    # 3. A volume that agrees with the images and is flat wherever they allow it.
    x_hat = tv(H, problem.y, lam=0.05, n_iter=60)
    # The score looks at x_hat (PSNR, SSIM) and at how well H(x_hat) explains the images.
    return x_hat, found.mismatch
