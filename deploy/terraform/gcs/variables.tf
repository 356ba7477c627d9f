variable "project" {
  description = "The id of the project."
  type        = string
}

variable "bucket" {
  description = "The name of the bucket. One for all locks will do. Bucket names are one space for all of Google's customers."
  type        = string
}

variable "location" {
  description = "Where the bucket is: a region such as europe-west1, or EU, US, ASIA. In the latter writes cost twice."
  type        = string
}

variable "prefix" {
  description = "What the locks' object names start with, without a slash at its end. Empty: the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.prefix))
    error_message = "Letters, digits, '.', '_', '-', and '/' between them."
  }
}

variable "members" {
  description = "Who else may take locks, such as user:ada@example.com or group:deployers@example.com."
  type        = list(string)
  default     = []
}

variable "service_account" {
  description = "The name of the service account that is made, the part before the @."
  type        = string
  default     = "leasehold"
}

variable "soft_delete_days" {
  description = "How many days replaced and deleted records are kept: 0 (off) or 7 to 90."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    error_message = "Google accepts 0, or 7 to 90 days."
  }
}

variable "github_repository" {
  description = "owner/name of the GitHub repository whose workflows may take locks. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9-]+/[A-Za-z0-9._-]+)?$", var.github_repository))
    error_message = "It is written owner/name."
  }
}

variable "github_pool" {
  description = "The id of the workload identity pool. A deleted one blocks its id for 30 days."
  type        = string
  default     = "leasehold-github"
}
