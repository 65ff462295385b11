import torch

from src.attacks.halfspaces import nearest_point
from src.data import clusters
from src.oracles.nearest_cluster import nearest_cluster_radius


def test_radius_is_the_nearest_of_the_regions_of_the_other_label():
    """A region of one mean is an intersection of half-spaces, whose nearest point an independent solver finds."""
    task = clusters.build([0, 1], k=5, d=16, n=5, n_test=12, sigma=1.5, negative=2, coordinates="full")
    means, labels = task.facts["means"], task.facts["labels"]
    radius = nearest_cluster_radius(task.x_test, task.y_test, means, labels)
    for member in range(2):
        for x, y, closed_form in zip(task.x_test[member], task.y_test[member], radius[member], strict=True):
            own = means[member][labels[member] == y]
            best = float("inf")
            for other in means[member][labels[member] != y]:
                normals, offsets = own - other, (own - other) @ x  # offset + normal·δ ≤ 0
                if (offsets <= 0).all():
                    best = 0.0
                    continue
                point = nearest_point(normals.numpy(), offsets.numpy())
                best = min(best, float(torch.tensor(point).norm()))
            torch.testing.assert_close(float(closed_form), best, rtol=1e-6, atol=1e-9)


def test_radius_at_a_mean_is_half_the_distance_of_two_means():
    task = clusters.build([0], k=4, d=32, n=4, n_test=8, sigma=0.0)
    radius = nearest_cluster_radius(task.x_test, task.y_test, task.facts["means"], task.facts["labels"])
    torch.testing.assert_close(radius, torch.full_like(radius, 4.0))
