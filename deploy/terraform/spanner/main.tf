# A table for locks in Cloud Spanner, and who may take them.

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
  instance = var.make_instance ? google_spanner_instance.locks[0].name : var.instance

  # Who may take locks: the service account that is made here, and whoever else is named. The keys are known
  # before anything is made, as for_each needs it.
  members = merge(
    { service_account = "serviceAccount:${google_service_account.locks.email}" },
    { for member in var.members : member => member },
  )
}

# The least that there is. Locks need no more of it than a few commits a second.
resource "google_spanner_instance" "locks" {
  count = var.make_instance ? 1 : 0

  name             = var.instance
  config           = var.config
  display_name     = "Locks (leasehold)"
  processing_units = 100
  force_destroy    = false

  lifecycle {
    prevent_destroy = true
  }
}

# No row deletion policy, on purpose: it would take locks from their holders. Statements are only ever added
# at the end: a change of one of them makes the database anew.
resource "google_spanner_database" "locks" {
  instance            = local.instance
  name                = var.database
  database_dialect    = "GOOGLE_STANDARD_SQL"
  deletion_protection = true

  ddl = [
    <<-EOT
      CREATE TABLE ${var.table} (
        name STRING(256) NOT NULL,
        version INT64 NOT NULL,
        record BYTES(MAX) NOT NULL,
        written TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp = true)
      ) PRIMARY KEY (name, version)
    EOT
  ]

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_service_account" "locks" {
  account_id   = var.service_account
  display_name = "Takes and releases locks (leasehold)"
}

# Reading rows and committing mutations: no SQL, no schema.
resource "google_project_iam_custom_role" "rows" {
  role_id = "leaseholdRows"
  title   = "leasehold: take and release locks in Spanner"
  permissions = [
    "spanner.sessions.create",
    "spanner.databases.read",
    "spanner.databases.beginReadOnlyTransaction",
    "spanner.databases.write",
    "spanner.databases.beginOrRollbackReadWriteTransaction",
  ]
}

resource "google_spanner_database_iam_member" "rows" {
  for_each = local.members

  instance = local.instance
  database = google_spanner_database.locks.name
  role     = google_project_iam_custom_role.rows.id
  member   = each.value
}
