# A bucket for locks, and who may take them.

terraform {
  required_version = ">= 1.3"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

provider "google" {
  project = var.project
}

locals {
  # What the names of all objects of these locks start with; all objects of the bucket without a prefix.
  objects = "projects/_/buckets/${google_storage_bucket.locks.name}/objects/${var.prefix == "" ? "" : "${var.prefix}/"}"

  # Who may take locks: the service account that is made here, and whoever else is named. The keys are known
  # before anything is made, as for_each needs it.
  members = merge(
    { service_account = "serviceAccount:${google_service_account.locks.email}" },
    { for member in var.members : member => member },
  )
}

# No lifecycle rule and no retention policy, on purpose: the one deletes records under their holders, the
# other makes them unwritable.
resource "google_storage_bucket" "locks" {
  name          = var.bucket
  location      = var.location
  storage_class = "STANDARD"
  force_destroy = false

  # Conditions on names need it.
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Every renewal replaces the object; versioning would keep all of them for ever.
  versioning {
    enabled = false
  }

  # For as long as this, replaced records are kept and billed as storage: less than a cent a month for a
  # lock that is always held with a ttl of 10 s. It brings back a record that somebody deleted. 0 is off.
  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 86400
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_service_account" "locks" {
  account_id   = var.service_account
  display_name = "Takes and releases locks (leasehold)"
}

# Reading a record, making one, replacing one: an overwrite counts as a deletion too.
resource "google_project_iam_custom_role" "locks" {
  role_id     = "leaseholdLocks"
  title       = "leasehold: take and release locks"
  permissions = ["storage.objects.get", "storage.objects.create", "storage.objects.delete"]
}

# The names of the objects, not what is in them. Without it a record that does not exist may be "denied"
# in place of "not found". It is asked of the bucket, so a condition on objects' names would never hold.
resource "google_project_iam_custom_role" "names" {
  role_id     = "leaseholdNames"
  title       = "leasehold: list locks, and see that one does not exist"
  permissions = ["storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "locks" {
  for_each = local.members

  bucket = google_storage_bucket.locks.name
  role   = google_project_iam_custom_role.locks.id
  member = each.value

  condition {
    title       = "leasehold-locks"
    description = "The objects of these locks only."
    expression  = "resource.name.startsWith(\"${local.objects}\")"
  }
}

resource "google_storage_bucket_iam_member" "names" {
  for_each = local.members

  bucket = google_storage_bucket.locks.name
  role   = google_project_iam_custom_role.names.id
  member = each.value
}

# GitHub Actions without a key: the workflows of one repository may act as the service account.
resource "google_iam_workload_identity_pool" "github" {
  count = var.github_repository == "" ? 0 : 1

  workload_identity_pool_id = var.github_pool
  display_name              = "GitHub Actions"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  count = var.github_repository == "" ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  # Every repository on GitHub has tokens of this issuer: this line keeps all others out.
  attribute_condition = "assertion.repository == \"${var.github_repository}\""

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  count = var.github_repository == "" ? 0 : 1

  service_account_id = google_service_account.locks.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.repository/${var.github_repository}"
}
